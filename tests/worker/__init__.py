"""The way through: a worker's parts, each in this process, and whole workers as processes."""
