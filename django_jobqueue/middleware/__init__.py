"""Middleware that comes with the package. Named in settings, imported by nobody: yours can do the same."""
