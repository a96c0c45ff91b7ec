"""The tests, laid out as the package is; ``tests.support`` is the harness they share."""
