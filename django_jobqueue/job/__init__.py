"""What a user writes: a class with options and ``perform``."""
