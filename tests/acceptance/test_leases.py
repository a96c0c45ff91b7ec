"""
Silence that is longer than a lease: frozen processes, a Redis that is away, C code with the GIL.

The stories begin with the first acceptance test, and these tests come last: they hear the end.
"""

from __future__ import annotations

from tests.acceptance import silence
from tests.acceptance.silence import Told


def test_a_frozen_process_finds_its_late_results_fenced(told: Told) -> None:
    told.hear(silence.frozen_past_its_lease)


def test_a_short_freeze_repeats_nothing(told: Told) -> None:
    told.hear(silence.frozen_for_less_than_its_lease)


def test_an_outage_longer_than_the_lease_repeats_nothing(told: Told) -> None:
    told.hear(silence.redis_away_for_longer_than_the_lease)


def test_a_pause_longer_than_the_lease_repeats_nothing(told: Told) -> None:
    told.hear(silence.redis_pauses_for_longer_than_the_lease)


def test_a_server_that_is_frozen_for_longer_than_the_lease_repeats_nothing(told: Told) -> None:
    told.hear(silence.redis_frozen_for_longer_than_the_lease)


def test_a_clock_that_jumps_ahead_loses_nothing_and_repeats_at_most_what_ran(told: Told) -> None:
    told.hear(silence.clock_of_redis_jumps_ahead)


def test_jobs_of_workers_killed_long_ago_are_taken_up_within_a_lease_of_a_start(
    told: Told,
) -> None:
    told.hear(silence.everybody_killed_and_nobody_there_for_long)


def test_c_code_that_holds_the_gil_for_longer_than_the_lease_repeats_nothing(told: Told) -> None:
    told.hear(silence.gil_held_for_longer_than_the_lease)
