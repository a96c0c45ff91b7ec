"""A second database."""

from tests.support.databases import other_database

__all__ = ["other_database"]
