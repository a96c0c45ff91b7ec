"""A queue from outside: how long, how late, paged from either end, searched within a budget."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest

from django_jobqueue.api import Progress, Queue
from django_jobqueue.connection import store
from django_jobqueue.exceptions import InvalidQuery, SearchUnfinished, StoreRefused
from django_jobqueue.payload import Payload
from django_jobqueue.store.store import Store
from tests.api.samples import ODD, enqueue, jid_of, owner_of, payload, ruby
from tests.conftest import JobqueueSettings
from tests.store.faults import wrong_type
from tests.support.clocks import freeze
from tests.support.inside import Inside
from tests.support.server import RedisServer


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def jids(*numbers: int) -> list[str]:
    return [jid_of(number) for number in numbers]


def test_making_one_asks_nobody_and_it_is_never_stale(
    count_round_trips: Callable[[], int],
) -> None:
    queue = Queue("low")
    assert count_round_trips() == 0
    assert len(queue) == queue.size == 0
    enqueue(payload(1), payload(2))
    assert len(queue) == 2
    assert repr(queue) == "<Queue 'low'>"


def test_all_queues_are_listed_with_names_of_others_too(inside: Inside) -> None:
    enqueue(payload(1))
    inside.client.sadd(inside.key("queues"), "a b", "default")
    assert [queue.name for queue in Queue.all()] == ["a b", "default", "low"]


def test_another_redis_is_looked_at_where_one_is_given(
    redis_server: RedisServer, key_prefix: str
) -> None:
    other = Store(redis_server.url, prefix=f"{key_prefix}other:")
    other.queues.push({"low": [b"1"]})
    assert (len(Queue("low", store=other)), len(Queue("low"))) == (1, 0)
    (queue,) = Queue.all(store=other)
    assert len(queue) == 1
    (entry,) = queue
    assert entry.delete()
    other.close()


def test_latency_is_the_age_of_the_next_job(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = freeze(monkeypatch)
    frozen.now = 1_700_000_011.5
    assert Queue("low").latency == 0.0
    enqueue(ruby(), payload(1))  # enqueued_at 1700000001.5
    assert Queue("low").latency == 10.0


def test_a_queue_is_paused_and_resumed() -> None:
    queue = Queue("low")
    states = [queue.paused]
    queue.pause()
    states += [queue.paused, Queue("other").paused]
    queue.resume()
    assert [*states, queue.paused] == [False, True, False, False]


def test_pages_are_counted_from_either_end(count_round_trips: Callable[[], int]) -> None:
    enqueue(*map(payload, range(5)))
    queue = Queue("low")
    count_round_trips()
    assert [entry.jid for entry in queue.page(1, 2)] == jids(1, 2)
    assert count_round_trips() == 1
    assert [entry.jid for entry in queue.page(1, 2, newest_first=True)] == jids(3, 2)
    assert [entry.jid for entry in queue.page()] == jids(0, 1, 2, 3, 4)
    assert queue.page(5) == []
    entry = queue.page()[0]
    assert (entry.place, entry.queue) == ("queue 'low'", "low")


@pytest.mark.parametrize(
    "call",
    [
        lambda queue: queue.page(0, 0), lambda queue: queue.page(0, 1001),
        lambda queue: queue.page(0, True), lambda queue: queue.page(-1),
        lambda queue: queue.page("1"), lambda queue: queue.find(""), lambda queue: queue.find(7),
        lambda queue: queue.find("a", budget=-1), lambda queue: queue.find("a", budget="1"),
        lambda queue: queue.find("a", cursor=-1), lambda queue: queue.scan(""),
        lambda queue: queue.scan("a", limit=0), lambda queue: queue.delete(""),
        lambda queue: queue.delete_all(limit=-1), lambda queue: type(queue)(""),
        lambda queue: type(queue)(None),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_value(call: Callable[[Any], object]) -> None:
    with pytest.raises(InvalidQuery, match=r"^\w+=.* is not possible: "):
        call(Queue("low"))


def test_iteration_is_lazy_and_a_page_at_a_time(count_round_trips: Callable[[], int]) -> None:
    enqueue(*map(payload, range(250)))
    count_round_trips()
    assert [entry.jid for entry in islice(Queue("low"), 100)] == jids(*range(100))
    assert count_round_trips() == 1
    assert [entry.jid for entry in Queue("low")] == jids(*range(250))


def test_nothing_is_passed_over_while_jobs_are_deleted(inside: Inside) -> None:
    enqueue(*map(payload, range(350)))
    for entry in Queue("low"):
        if entry.args[0] % 3:
            assert entry.delete()
    assert inside.args("low") == [[n] for n in range(0, 350, 3)]
    for entry in Queue("low"):
        assert entry.delete()
    assert len(Queue("low")) == 0


@pytest.mark.parametrize("taken", [50, 100, 130])
def test_nothing_is_passed_over_while_workers_take_jobs(inside: Inside, taken: int) -> None:
    enqueue(*map(payload, range(500)))
    seen = []
    for number, entry in enumerate(Queue("low")):
        seen.append(entry.args[0])
        if number == 249:
            inside.client.rpop(inside.key("queue:low"), taken)
    assert seen == list(range(500))


def test_iteration_ends_although_the_queue_grows(inside: Inside) -> None:
    enqueue(*map(payload, range(150)))
    seen = 0
    for entry in Queue("low"):
        seen += 1
        enqueue(payload(1000 + entry.args[0]))
    assert seen == 150


def test_equal_jobs_are_each_met() -> None:
    enqueue(*[b"same"] * 250, b"last")
    assert [entry.raw for entry in Queue("low")] == [b"same"] * 250 + [b"last"]


def test_bytes_that_are_no_job_do_not_stop_anybody(inside: Inside) -> None:
    enqueue(*ODD, payload(1))
    entries = list(Queue("low"))
    assert [entry.raw for entry in entries[:-1]] == ODD
    assert entries[0].delete()
    assert entries[1].kill()
    (dead, _) = inside.entry("dead")
    assert (dead["class"], dead["error_class"]) == ("InvalidPayload", "InvalidPayload")
    assert Queue("low").find(jid_of(1)) is not None


# Searching ------------------------------------------------------------------------


def test_a_job_is_found_by_its_id_and_only_by_all_of_it() -> None:
    enqueue(payload(1, args=[jid_of(2)]), payload(2), payload(3, jid='odd"\u00e9'))
    found = Queue("low").find(jid_of(2))
    assert found is not None
    assert found.args == [2]
    assert Queue("low").find(jid_of(2)[:-1]) is None
    assert Queue("low").find('odd"\u00e9') is not None
    assert Queue("low").find("nobody") is None


def test_a_search_that_has_spent_its_budget_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("django_jobqueue.api.queues.STEP", 10)
    enqueue(*map(payload, range(25)))
    queue = Queue("low")
    with pytest.raises(SearchUnfinished, match="go on with cursor=10") as caught:
        queue.find(jid_of(3), budget=0)  # from the last pushed: 24 to 15
    assert (caught.value.looked_at, caught.value.cursor) == (10, 10)
    assert queue.find(jid_of(12), budget=0, cursor=10) is not None
    assert queue.find(jid_of(3), budget=None) is not None
    assert queue.find(jid_of(3), budget=0, cursor=20) is not None
    assert queue.find("nobody", budget=0, cursor=20) is None


def test_a_budget_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_jobqueue.api.queues.STEP", 1)
    enqueue(*map(payload, range(9)))
    frozen = freeze(monkeypatch)
    page = store().queues.page

    def slow(*args: Any, **kwargs: Any) -> list[bytes]:
        frozen.advance(1.0)
        return page(*args, **kwargs)

    monkeypatch.setattr(store().queues, "page", slow)
    with pytest.raises(SearchUnfinished) as caught:
        Queue("low").find("nobody", budget=2.5)
    assert caught.value.looked_at == 3


def test_a_text_is_searched_for_and_the_search_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_jobqueue.api.queues.STEP", 10)
    enqueue(*(payload(n, tags=["even"] if n % 2 == 0 else []) for n in range(25)))
    found = Queue("low").scan('"even"', limit=4)
    assert [entry.args for entry in found.entries] == [[n] for n in (24, 22, 20, 18, 16)]
    assert (found.cursor, found.looked_at) == (10, 10)
    rest = Queue("low").scan('"even"', cursor=10, limit=None)
    assert len(rest.entries) == 8
    assert rest.cursor is None


def test_a_queue_is_not_searched_by_accident() -> None:
    with pytest.raises(TypeError):
        "jid" in Queue("low")  # type: ignore[operator]  # noqa: B015 - that is the test


# Deletion -------------------------------------------------------------------------


def test_jobs_are_deleted_by_their_ids_with_their_locks(inside: Inside) -> None:
    jobs = [payload(n, once=True) for n in range(4)]
    enqueue(*jobs)
    assert Queue("low").delete(jid_of(1), jid_of(3), "nobody") == 2
    assert inside.args("low") == [[0], [2]]
    assert [owner_of(job) for job in jobs] == [jid_of(0), None, jid_of(2), None]
    assert Queue("low").delete() == 0


def test_a_deletion_that_has_spent_its_budget_tells_what_it_did(
    monkeypatch: pytest.MonkeyPatch, inside: Inside
) -> None:
    monkeypatch.setattr("django_jobqueue.api.queues.STEP", 10)
    enqueue(*map(payload, range(25)))
    with pytest.raises(SearchUnfinished) as caught:
        Queue("low").delete(jid_of(24), jid_of(14), budget=0)
    assert (caught.value.found, caught.value.cursor) == (1, 9)
    # Those behind the deleted one have moved up: 14 is the first of the next step.
    assert Queue("low").delete(jid_of(14), budget=0, cursor=9) == 1
    assert len(inside.raw("low")) == 23


def test_a_queue_is_cleared_by_the_hundred_and_its_locks_with_it(inside: Inside) -> None:
    jobs = [payload(n, once=True) for n in range(250)]
    enqueue(*jobs)
    told: list[Progress] = []
    assert Queue("low").clear(told.append) == 250
    assert [(each.done, each.total) for each in told] == [(100, 250), (200, 250), (250, 250)]
    assert not any(name.startswith("jq:unique") for name in inside.names())
    assert Queue("low").clear() == 0


def test_a_job_that_was_read_long_ago_is_found_wherever_it_is_by_now(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_jobqueue.store.removal.STEPS", 0)  # as if it had moved far
    raws = enqueue(*map(payload, range(1_500)))
    first, second = Queue("low").page(600, 2)
    assert (first.index, Queue("low").page(3, 1, newest_first=True)[0].index) == (-601, 3)
    inside.client.rpop(inside.key("queue:low"), 400)
    assert not first.delete()
    monkeypatch.setattr("django_jobqueue.api.entries.FRESH", 0.0)
    assert first.delete()
    assert second.kill()
    assert not first.delete()
    assert inside.raw("low") == [*raws[400:600], *raws[602:]]


def test_jobs_that_match_are_deleted_and_killed(inside: Inside) -> None:
    enqueue(*(payload(n, once=n % 2 == 0) for n in range(250)))
    queue = Queue("low")
    done = queue.delete_all(lambda entry: entry.args[0] % 2 == 1, limit=120)
    assert (done.matched, done.done, done.gone) == (120, 120, 0)
    killed = queue.kill_all(lambda entry: entry.args[0] < 10)
    assert (killed.total, killed.looked_at, killed.done) == (130, 130, 5)
    assert {job["args"][0] for job, _ in inside.entries("dead")} == {0, 2, 4, 6, 8}
    assert inside.args("low")[0] == [10]


def test_equal_jobs_are_killed_for_each_that_is_meant(inside: Inside) -> None:
    enqueue(*[Payload(payload(1).fields).encode()] * 3)
    killed = Queue("low").kill_all()
    assert (killed.done, killed.gone) == (3, 0)


def test_a_key_of_a_wrong_type_is_told(inside: Inside) -> None:
    with wrong_type(inside.client, inside.key("queue:low")):
        for call in (len, list):
            with pytest.raises(StoreRefused, match="WRONGTYPE"):
                call(Queue("low"))
