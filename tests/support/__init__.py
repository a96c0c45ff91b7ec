"""The harness: real servers, a faulty network, worker processes, a journal that survives them."""
