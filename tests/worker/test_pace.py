"""How many jobs are claimed ahead and when results are delivered: bounds that always hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from django_jobqueue.store.claims import MOVE_LIMIT
from django_jobqueue.worker.pace import AHEAD, FLUSH_AFTER, LONG_JOB, MOST, Pace

concurrencies = st.integers(1, 200)
durations = st.lists(st.floats(0, 100, allow_nan=False), max_size=200)


def learnt(concurrency: int, taken: list[float]) -> Pace:
    pace = Pace(concurrency)
    pace.took(taken)
    return pace


@given(concurrencies, durations)
def test_what_is_held_is_never_more_than_the_threads_and_two_claims(
    concurrency: int, taken: list[float]
) -> None:
    pace = learnt(concurrency, taken)
    assert 0 <= pace.ahead <= MOST
    assert pace.room(0) == concurrency + pace.ahead
    assert pace.room(pace.room(0)) == 0


@given(concurrencies)
def test_nothing_is_claimed_ahead_before_anything_is_known(concurrency: int) -> None:
    assert Pace(concurrency).ahead == 0


@given(concurrencies, st.floats(LONG_JOB, 1000))
def test_nothing_is_claimed_ahead_of_long_jobs(concurrency: int, seconds: float) -> None:
    assert learnt(concurrency, [seconds] * 300).ahead == 0


@given(concurrencies, st.floats(0.0005, 0.04))
def test_what_is_claimed_ahead_of_short_jobs_is_bounded_by_its_time(
    concurrency: int, seconds: float
) -> None:
    pace = learnt(concurrency, [seconds] * 300)
    # 300 jobs leave a trace of the first guess of 0.05 s in the mean: some 1e-8 s.
    assert pace.ahead * seconds / concurrency <= AHEAD * 1.001
    assert pace.ahead == MOST or pace.ahead >= int(AHEAD * concurrency / (seconds * 1.001))


@given(concurrencies)
def test_jobs_of_no_length_are_claimed_two_pages_ahead(concurrency: int) -> None:
    assert learnt(concurrency, [0.0] * 1000).ahead == MOST


def test_one_endless_job_does_not_spoil_the_mean() -> None:
    pace = learnt(10, [0.001] * 300)
    before = pace.ahead
    pace.took([86_400])
    assert before > 0
    assert pace.ahead == 0  # it may be the first of many
    for _ in range(200):
        pace.took([0.001])
    assert pace.ahead == before


@given(concurrencies, durations, st.integers(0, 400), st.booleans())
def test_an_idle_thread_is_always_worth_a_round_trip(
    concurrency: int, taken: list[float], free: int, starving: bool
) -> None:
    pace = learnt(concurrency, taken)
    worth = pace.should_claim(free, starving)
    assert worth or not starving
    assert worth == (starving or free >= (concurrency + pace.ahead) / 2)


@given(concurrencies, durations, st.integers(0, 300))
def test_results_wait_for_company_but_not_for_more_than_a_page(
    concurrency: int, taken: list[float], results: int
) -> None:
    pace = learnt(concurrency, taken)
    assert pace.must_flush(results) == (results >= MOVE_LIMIT)
    assert pace.flush_after == FLUSH_AFTER


@given(concurrencies, durations, st.integers(0, MOVE_LIMIT - 1))
def test_a_wait_ends_before_a_page_of_results_is_full(
    concurrency: int, taken: list[float], undelivered: int
) -> None:
    wake = learnt(concurrency, taken).wake_at(undelivered)
    assert wake >= 1
    assert wake + undelivered <= MOVE_LIMIT


@given(concurrencies, durations)
def test_the_first_result_ends_the_wait_so_that_its_time_is_counted(
    concurrency: int, taken: list[float]
) -> None:
    assert learnt(concurrency, taken).wake_at(0) == 1


def test_a_job_ends_soon_where_the_others_took_less_than_a_result_may_wait() -> None:
    assert learnt(10, [FLUSH_AFTER / 2] * 300).ends_soon
    assert not learnt(10, [FLUSH_AFTER * 2] * 300).ends_soon
    assert not Pace(10).ends_soon  # nobody knows yet


@given(concurrencies, st.integers(0, 300))
def test_each_result_goes_at_once_where_that_is_asked(concurrency: int, results: int) -> None:
    pace = Pace(concurrency, each=True)
    assert pace.flush_after == 0.0
    assert pace.must_flush(results)
    assert pace.wake_at(results) == 1
    pace.took([0.0] * 300)
    assert not pace.ends_soon
