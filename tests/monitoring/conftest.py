"""Fixtures that look into Redis."""

from tests.support.inside import count_round_trips, inside

__all__ = ["count_round_trips", "inside"]
