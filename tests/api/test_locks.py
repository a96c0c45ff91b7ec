"""The locks of unique jobs: shown by the page, with their holders, and given up on demand."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from django_jobqueue.api import Lock, LockSet
from django_jobqueue.connection import store
from django_jobqueue.exceptions import InvalidQuery
from tests.api.samples import NAME, enqueue, jid_of, lock, owner_of, payload, put
from tests.conftest import JobqueueSettings
from tests.store.faults import wrong_type
from tests.support.inside import Inside


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def unique(number: int) -> Any:
    return payload(number, once=True)


def every_lock() -> list[Lock]:
    return LockSet().page(budget=None, count=1000).locks


def test_locks_are_shown_by_the_page(inside: Inside) -> None:
    jobs = [unique(number) for number in range(120)]
    lock(jobs)
    inside.client.set(inside.key("jq:unique:nonsense"), "me")
    met: dict[str, str] = {}
    cursor: int | None = 0
    while cursor is not None:
        page = LockSet().page(cursor, 50, budget=None)
        met |= {each.digest: each.jid for each in page.locks}
        cursor = page.cursor
    assert met == {job.unique_digest: job.jid for job in jobs}
    assert LockSet().page(budget=0, count=1).looked_at >= 1


def test_a_lock_tells_its_holder_and_how_long_it_lasts(inside: Inside) -> None:
    job, endless = unique(1), unique(2)
    lock([job])
    inside.client.set(inside.key(f"jq:unique:{endless.unique_digest}"), "held")
    found = LockSet().get(job.unique_digest)
    assert found is not None
    assert (found.digest, found.jid) == (job.unique_digest, jid_of(1))
    assert found.ttl is not None
    assert 0 < found.ttl <= 600
    without_end = LockSet().get(endless.unique_digest)
    assert without_end is not None
    assert (without_end.jid, without_end.ttl) == ("held", None)
    assert LockSet().get("0" * 32) is None
    assert repr(found) == f"<Lock {job.unique_digest} jid={jid_of(1)}>"


def test_a_key_of_a_wrong_type_is_no_lock(inside: Inside) -> None:
    job = unique(1)
    inside.client.rpush(inside.key(f"jq:unique:{job.unique_digest}"), "x")
    assert LockSet().get(job.unique_digest) is None
    assert every_lock() == []
    assert not store().locks.release(job.unique_digest, "x")


def test_a_lock_is_given_up_unless_a_newer_job_has_it(inside: Inside) -> None:
    job = unique(1)
    lock([job])
    waiting = inside.key(f"jq:rerun:{job.unique_digest}")
    inside.client.set(waiting, "afterwards")
    (found,) = every_lock()
    inside.client.set(inside.key(f"jq:unique:{job.unique_digest}"), "newer")
    assert not found.release()
    assert owner_of(job) == "newer"
    (newer,) = every_lock()
    assert newer.release()
    assert not newer.release()
    assert owner_of(job) is None
    assert inside.client.get(waiting) == b"afterwards"


@pytest.mark.parametrize(
    "ask",
    [
        lambda: LockSet().get("7"), lambda: LockSet().get(""), lambda: LockSet().get("A" * 32),
        lambda: LockSet().page(-1), lambda: LockSet().page(1 << 64),
        lambda: LockSet().page(count=0), lambda: LockSet().page(budget=-1),
        lambda: LockSet().holders([], budget=-1),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_value(ask: Callable[[], object]) -> None:
    with pytest.raises(InvalidQuery, match=r"^\w+=.* is not possible: "):
        ask()


@pytest.mark.parametrize("jid", ["\u00e9" * 64, 'a"b', "\U0001f40c" * 64])
@pytest.mark.parametrize("escaped", [True, False])
def test_a_holder_is_found_however_its_jid_is_written(
    inside: Inside, jid: str, escaped: bool
) -> None:
    job = payload(1, once=True, jid=jid)
    lock([job])
    raw = json.dumps(dict(job.fields), ensure_ascii=escaped).replace('"jid":', '"jid" :')
    inside.client.lpush(inside.key("queue:low"), raw.encode())
    inside.client.sadd(inside.key("queues"), "low")
    (found,) = every_lock()
    assert not LockSet().holders([found]).lacks(found)


def test_the_holder_is_found_wherever_it_is(inside: Inside) -> None:
    jobs = [unique(number) for number in range(8)]
    lock(jobs[:7])
    inside.client.lpush(inside.key("queue:low"), jobs[0].encode())
    inside.client.sadd(inside.key("queues"), "low", "other")
    put(inside, "schedule", jobs[1])
    put(inside, "retry", jobs[2])
    put(inside, f"jq:held:{NAME}", jobs[3])
    inside.client.sadd(inside.key("jq:held"), NAME)
    inside.client.hset(inside.key("jq:claims:host:1:aa"), "b:1:low", jobs[4].encode())
    inside.client.zadd(inside.key("jq:leases"), {"host:1:aa": 1e15})
    inside.client.hset(inside.key("jq:claims:host:2:bb"), "b:1:low", jobs[5].encode())
    # A dead job holds no lock, whatever it says; and one in an argument is not the job.
    put(inside, "dead", jobs[6])
    enqueue(payload(9, args=[{"jid": jid_of(6)}]))
    locks = every_lock()
    holders = LockSet().holders(locks)
    assert holders.found == {
        jid_of(0): "queue:low", jid_of(1): "schedule", jid_of(2): "retry",
        jid_of(3): f"held:{NAME}", jid_of(4): "process:host:1:aa",
        jid_of(5): "process:host:2:bb",
    }  # fmt: skip
    assert holders.complete
    assert [each.jid for each in locks if holders.lacks(each)] == [jid_of(6)]


def test_nobody_is_said_to_be_gone_before_all_was_read(inside: Inside) -> None:
    lock([unique(1)])
    put(inside, "schedule", *map(payload, range(10, 20)))
    locks = every_lock()
    unfinished = LockSet().holders(locks, budget=0)
    assert (unfinished.found, unfinished.complete) == ({}, False)
    assert not unfinished.lacks(locks[0])
    for broken in ("retry", "queues"):
        with wrong_type(inside.client, inside.key(broken)):
            assert not LockSet().holders(locks).complete
    assert LockSet().holders(locks).lacks(locks[0])
    assert LockSet().holders([]).complete


def test_a_lock_that_was_given_up_meanwhile_lacks_nobody(inside: Inside) -> None:
    lock([unique(1)])
    (found,) = every_lock()
    assert found.release()
    holders = LockSet().holders([found])
    assert set(holders.gone) == {jid_of(1)}
    assert not holders.lacks(found)


def test_a_job_that_moves_back_while_it_is_looked_for_is_found(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = unique(1)
    lock([job])
    put(inside, "retry", job)
    locks, survey = every_lock(), store().survey
    places, reads = type(survey).places, []

    def moving(self: Any) -> Any:
        reads.append(self)
        for place, pages in places(self):
            if place == "retry" and len(reads) == 1:  # the queues have been read
                inside.client.delete(inside.key("retry"))
                inside.client.lpush(inside.key("queue:low"), job.encode())
                inside.client.sadd(inside.key("queues"), "low")
            yield place, pages

    monkeypatch.setattr(type(survey), "places", moving)
    assert LockSet().holders(locks).found == {jid_of(1): "queue:low"}
