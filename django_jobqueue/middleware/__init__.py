"""Middleware that comes along. Named in settings, imported by nobody: yours can do the same."""
