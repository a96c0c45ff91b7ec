"""A bulk: one job a row, aligned, lazily sliced, one round trip a slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_jobqueue import BulkResult, Job
from django_jobqueue.client.outlet import Entry, use_outlet
from django_jobqueue.exceptions import (
    ArgumentNotSerializable,
    InvalidArguments,
    InvalidOption,
    InvalidSchedule,
    StoreUnavailable,
)
from django_jobqueue.testing import FakeOutlet
from tests.client.recorders import RefuseOdd, path_of
from tests.conftest import JobqueueSettings
from tests.support.clocks import FrozenClock, freeze
from tests.support.inside import Inside
from tests.support.server import RedisServer


class RowJob(Job):
    """Takes a number, and perhaps more."""

    def perform(self, number: int, word: str = "") -> None:
        """Do nothing."""


class Slices(FakeOutlet):
    """A box that remembers the size of each push, and may fail at one."""

    def __init__(self, fail_at: int = -1) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self._fail_at = fail_at

    def push(self, entries: Sequence[Entry], *, healing: bool = False) -> Mapping[int, str]:
        if len(self.sizes) == self._fail_at:
            raise StoreUnavailable("gone in the middle")
        self.sizes.append(len(entries))
        return super().push(entries, healing=healing)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Time stands still."""
    return freeze(monkeypatch)


@pytest.fixture
def box(settings: Any) -> Iterator[Slices]:
    """A box that all pushes go to."""
    settings.JOBQUEUE = {"OUTLET": "fake"}
    outlet = Slices()
    with use_outlet(outlet):
        yield outlet


def rows(count: int) -> list[tuple[int]]:
    return [(number,) for number in range(count)]


# The answer -------------------------------------------------------------------


def test_there_is_a_jid_for_each_row_in_the_order_of_the_rows(box: Slices) -> None:
    result = RowJob.perform_bulk([(1,), [2, "b"], (3,)])
    assert isinstance(result, BulkResult)
    assert [(entry.payload.jid, entry.payload.args) for entry in box.entries] == [
        (result[0], [1]),
        (result[1], [2, "b"]),
        (result[2], [3]),
    ]
    assert len(set(result)) == 3
    assert (result.pushed, result.refused) == (3, 0)


def test_refused_rows_are_none_and_the_others_stay_aligned(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake", "CLIENT_MIDDLEWARE": path_of(RefuseOdd)}
    outlet = Slices()
    with use_outlet(outlet):
        result = RowJob.perform_bulk(rows(2_501), batch_size=100)
    by_jid = {entry.payload.jid: entry.payload.args[0] for entry in outlet.entries}
    assert [by_jid.get(str(jid)) for jid in result] == [
        None if number % 2 else number for number in range(2_501)
    ]
    assert (len(result), result.pushed, result.refused) == (2_501, 1_251, 1_250)


def test_a_slice_that_is_refused_whole_is_no_push(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake", "CLIENT_MIDDLEWARE": path_of(RefuseOdd)}
    outlet = Slices()
    with use_outlet(outlet):
        assert RowJob.perform_bulk([(1,), (3,), (5,)]) == [None, None, None]
    assert outlet.sizes == []


def test_no_rows_are_no_push_and_an_empty_answer(box: Slices) -> None:
    assert RowJob.perform_bulk([]) == []
    assert RowJob.perform_bulk(iter([]), at=[]) == []
    assert box.sizes == []


# Slices -----------------------------------------------------------------------


def test_a_thousand_jobs_travel_together_where_nothing_is_said(box: Slices) -> None:
    RowJob.perform_bulk(rows(2_500))
    assert box.sizes == [1000, 1000, 500]


def test_a_slice_has_the_size_that_is_asked_for(box: Slices) -> None:
    RowJob.perform_bulk(rows(7), batch_size=3)
    assert box.sizes == [3, 3, 1]


@pytest.mark.parametrize(
    "timed",
    [
        lambda count: {"at": 4e9},
        lambda count: {"at": [4e9] * count},
        lambda count: {"spread": 60},
    ],
    ids=["at", "at per row", "spread"],
)
def test_jobs_for_later_travel_in_slices_of_at_most_250(
    box: Slices, timed: Callable[[int], dict[str, Any]]
) -> None:
    RowJob.perform_bulk(rows(600), **timed(600))
    assert box.sizes == [250, 250, 100]
    box.sizes.clear()
    RowJob.perform_bulk(rows(60), batch_size=50, **timed(60))
    assert box.sizes == [50, 10]


def test_jobs_of_a_bound_wait_travel_in_slices_of_at_most_250(box: Slices) -> None:
    RowJob.set(wait=60).perform_bulk(rows(300))
    assert box.sizes == [250, 50]


def test_rows_are_taken_lazily_slice_by_slice(box: Slices) -> None:
    taken: list[tuple[int, int]] = []

    def generate() -> Iterator[tuple[int]]:
        for number in range(25):
            taken.append((number, len(box)))
            yield (number,)

    RowJob.perform_bulk(generate(), batch_size=10)
    assert taken == [(number, number // 10 * 10) for number in range(25)]


@pytest.mark.parametrize("size", [0, -1, True, 1.5, "10", None])
def test_a_size_that_is_none_is_refused(box: Slices, size: Any) -> None:
    with pytest.raises(
        InvalidOption, match=r"batch_size=.* is not possible: it is a number from 1"
    ):
        RowJob.perform_bulk(rows(3), batch_size=size)
    assert box.sizes == []


def test_each_slice_is_one_round_trip(
    jobqueue_settings: JobqueueSettings, inside: Inside, count_round_trips: Callable[[], int]
) -> None:
    jobqueue_settings()
    RowJob.perform_async(-1)
    count_round_trips()
    RowJob.perform_bulk(rows(2_500))
    assert count_round_trips() == 3
    assert inside.args() == [[number] for number in range(-1, 2_500)]
    count_round_trips()
    RowJob.perform_bulk(rows(600), spread=60)
    assert count_round_trips() == 3
    assert len(inside.entries("schedule")) == 600


def test_a_server_counts_a_few_commands_for_a_thousand_jobs(
    settings: Any, private_redis: Callable[..., RedisServer]
) -> None:
    server = private_redis()
    settings.JOBQUEUE = {"REDIS_URL": server.url}
    RowJob.perform_async(-1)
    with server.client() as client:
        client.config_resetstat()
        RowJob.perform_bulk(rows(1_000))
        RowJob.perform_bulk(rows(200), at=4e9)
        stats = client.info("commandstats")
        # An LPUSH is of 500 jobs at most: a longer one would keep others waiting.
        assert stats["cmdstat_lpush"]["calls"] == 2
        assert stats["cmdstat_zadd"]["calls"] == 1
        assert client.llen("queue:default") == 1_001


# Times ------------------------------------------------------------------------


def test_one_time_is_for_all_rows(box: Slices) -> None:
    when = datetime(2060, 1, 1, tzinfo=UTC)
    RowJob.perform_bulk(rows(3), at=when)
    assert [entry.at for entry in box.entries] == [when.timestamp()] * 3


def test_each_row_may_have_a_time_of_its_own(box: Slices) -> None:
    when = datetime(2060, 1, 1, tzinfo=UTC)
    RowJob.perform_bulk(rows(3), at=[4e9, when, 0])
    assert [entry.at for entry in box.entries] == [4e9, when.timestamp(), None]
    assert ["enqueued_at" in entry.payload.fields for entry in box.entries] == [False, False, True]


def test_times_may_come_from_a_generator(box: Slices) -> None:
    RowJob.perform_bulk(rows(3), at=(4e9 + number for number in range(10)))
    assert [entry.at for entry in box.entries] == [4e9, 4e9 + 1, 4e9 + 2]


@pytest.mark.parametrize("times", [[], [4e9, 4e9], (4e9,) * 4])
def test_as_many_times_as_rows_or_nothing_is_pushed(box: Slices, times: Sequence[float]) -> None:
    with pytest.raises(InvalidSchedule, match=f"there are {len(times)} times for 3 rows"):
        RowJob.perform_bulk(rows(3), at=times)
    assert box.sizes == []


def test_a_generator_with_too_few_times_is_told_when_it_ends(box: Slices) -> None:
    with pytest.raises(InvalidSchedule, match="it has fewer times than there are rows"):
        RowJob.perform_bulk(rows(3), at=iter([4e9, 4e9]))
    assert box.sizes == []


@pytest.mark.parametrize("at", [True, float("nan"), "2060-01-01", [4e9, "x"]], ids=repr)
def test_a_time_that_is_none_is_refused(box: Slices, at: Any) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        RowJob.perform_bulk(rows(2), at=at)
    assert caught.value.value is (at[1] if isinstance(at, list) else at)
    assert box.sizes == []


def test_a_spread_gives_each_job_a_delay_of_its_own(box: Slices, clock: FrozenClock) -> None:
    RowJob.perform_bulk(rows(1_000), spread=timedelta(minutes=10))
    delays = [(entry.at or clock.now) - clock.now for entry in box.entries]
    assert all(0 <= delay <= 600 for delay in delays)
    assert len(set(delays)) > 900
    # Spread over the whole window: no tenth of it has twice its share.
    tenths = [sum(n * 60 <= delay < (n + 1) * 60 for delay in delays) for n in range(10)]
    assert max(tenths) < 200
    assert min(tenths) > 30


def test_no_spread_is_now(box: Slices) -> None:
    RowJob.perform_bulk(rows(3), spread=0)
    assert [entry.at for entry in box.entries] == [None] * 3


@pytest.mark.parametrize("spread", [-1, True, float("inf"), "60"], ids=repr)
def test_a_spread_that_is_none_is_refused(box: Slices, spread: Any) -> None:
    with pytest.raises(InvalidSchedule):
        RowJob.perform_bulk(rows(3), spread=spread)
    assert box.sizes == []


def test_a_time_and_a_spread_exclude_each_other(box: Slices) -> None:
    with pytest.raises(InvalidOption, match="give an at or a spread, not both"):
        RowJob.perform_bulk(rows(3), at=4e9, spread=60)


# Faults -----------------------------------------------------------------------


@pytest.mark.parametrize("row", [7, "ab", {"number": 7}, {7}, None])
def test_a_row_that_is_no_row_is_refused_by_its_number(box: Slices, row: Any) -> None:
    with pytest.raises(InvalidOption, match=r"rows\[2\]=.* is not possible: a row is a list or"):
        RowJob.perform_bulk([(0,), (1,), row])
    assert box.sizes == []


def test_a_row_that_does_not_fit_or_is_no_json_stops_its_slice(box: Slices) -> None:
    with pytest.raises(InvalidArguments):
        RowJob.perform_bulk([(0,), ()])
    with pytest.raises(ArgumentNotSerializable, match=r"args\[0\] is a set"):
        RowJob.perform_bulk([(0,), ({1},)])
    assert box.sizes == []


def test_slices_before_the_one_that_fails_stay_pushed(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake"}
    outlet = Slices(fail_at=2)
    with use_outlet(outlet), pytest.raises(StoreUnavailable):
        RowJob.perform_bulk(rows(50), batch_size=10)
    assert outlet.args_of(RowJob) == [[number] for number in range(20)]
