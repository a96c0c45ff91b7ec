"""The way through: from a claimed job, through middleware and ``perform``, to its result."""
