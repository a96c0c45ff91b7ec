"""A small site whose jobs misbehave: what the process tests run."""
