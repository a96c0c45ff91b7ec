"""Fixtures that look into Redis, and a second database."""

from tests.support.databases import other_database
from tests.support.inside import count_round_trips, inside

__all__ = ["count_round_trips", "inside", "other_database"]
