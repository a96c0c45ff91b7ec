"""A sample of what waits: from evenly spaced places, and cheap however much there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_jobqueue.api import DeadSet, Queue
from django_jobqueue.exceptions import InvalidQuery
from tests.api.samples import payload
from tests.conftest import JobqueueSettings
from tests.support.inside import Inside

#: Both kinds of places, and the end that a number of them is put to.
PLACES: list[Any] = [lambda: Queue("low"), DeadSet]

each_place = pytest.mark.parametrize("make", PLACES, ids=["queue", "set"])


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def fill(inside: Inside, count: int) -> None:
    """Put the same jobs into a queue, the first to run first, and into the dead set."""
    raws = [payload(number).encode() for number in range(count)]
    inside.client.lpush(inside.key("queue:low"), *raws)
    inside.client.zadd(inside.key("dead"), {raw: at for at, raw in enumerate(raws)})


@each_place
def test_few_are_taken_all(inside: Inside, make: Callable[[], Any]) -> None:
    assert make().sample() == []
    fill(inside, 20)
    assert [entry.args[0] for entry in make().sample(20)] == list(range(20))


@each_place
def test_it_comes_evenly_from_everywhere(
    inside: Inside, make: Callable[[], Any], count_round_trips: Callable[[], int]
) -> None:
    fill(inside, 3000)
    place = make()
    count_round_trips()
    sample = [entry.args[0] for entry in place.sample(300)]
    assert count_round_trips() == 2
    assert len(sample) == len(set(sample)) == 300
    assert sample == sorted(sample)
    assert (sample[0], sample[-1]) == (0, 2999)
    for third in range(3):
        share = sum(1 for number in sample if third * 1000 <= number < third * 1000 + 1000)
        assert 80 <= share <= 120
    assert len(place.sample(1)) == 1
    assert len(place.sample(7)) == 7


@pytest.mark.parametrize("count", [0, -1, 1001, True, None])
def test_a_sample_has_a_bound(count: Any) -> None:
    with pytest.raises(InvalidQuery, match="count="):
        DeadSet().sample(count)
