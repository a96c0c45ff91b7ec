"""Middleware that comes with the package."""
