"""The window: what people and commands look through."""
