"""The way through: from a claimed job, through the server middleware and ``perform``, to its result."""
