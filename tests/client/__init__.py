"""The way in: arguments, middleware, commits and outlets."""
