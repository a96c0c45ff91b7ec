"""The cellar: everything that knows Redis, and nothing that knows Django."""
