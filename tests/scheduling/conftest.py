"""Fixtures that look into Redis, and leave the test its connections to the database."""

from tests.support.databases import freshened
from tests.support.inside import count_round_trips, inside

__all__ = ["count_round_trips", "freshened", "inside"]
