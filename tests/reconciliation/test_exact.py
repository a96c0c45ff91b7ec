"""What of a class stands in Redis is found wherever it is, and a lock alone is no job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from django_jobqueue import Payload
from django_jobqueue.client.results import Status
from django_jobqueue.connection import store
from django_jobqueue.reconciliation import exact as room
from django_jobqueue.reconciliation.drafts import Draft, Faults, draft_all, mark
from django_jobqueue.reconciliation.exact import Missing, Standing, standing
from django_jobqueue.reconciliation.rows import pages
from django_jobqueue.reconciliation.run import reconcile
from tests.healing.jobs import OrderJob, ScheduleOrders, variant
from tests.healing.models import Order
from tests.support.inside import Inside

pytestmark = pytest.mark.usefixtures("queue")

JOB = "tests.healing.jobs.OrderJob"


def job(number: int, jid: str = "", **fields: Any) -> bytes:
    made: dict[str, Any] = {
        "class": JOB,
        "args": [number],
        "jid": jid or f"{number:024x}",
        "queue": "orders",
    }
    return Payload({**made, **fields}).encode()


def drafts(*keys: int) -> list[Draft]:
    Order.objects.bulk_create([Order(pk=key) for key in keys])
    plan = ScheduleOrders().plan()
    (page,) = pages(plan)
    made = draft_all(plan, page.rows, Faults(plan))
    # As the push names them.
    return [Draft(d.key, d.payload.replace(unique_digest=d.digest)) for d in made]


def digest_of(number: int) -> str:
    return mark(Payload.decode(job(number)))


def stand(inside: Inside, *jobs: bytes, queue: str = "orders") -> None:
    inside.client.sadd(inside.key("queues"), queue)
    inside.client.lpush(inside.key(f"queue:{queue}"), *jobs)


def test_jobs_are_found_wherever_they_stand(inside: Inside) -> None:
    keys = store().keys
    stand(inside, job(1))
    stand(inside, job(2), queue="elsewhere")
    inside.put("schedule", job(3), 1)
    inside.put("retry", job(4), 1)
    inside.client.hset(keys.claims("host:1:aa"), "x:1:a", job(5))
    inside.client.zadd(keys.held(JOB), {job(6): 1})
    inside.put("dead", job(7), 1)
    found = standing(store(), OrderJob)
    assert found.jids.keys() == {digest_of(number) for number in range(1, 7)}
    assert found.claimed == {digest_of(5)}
    assert found.duplicated == 0


def test_what_is_of_another_class_or_no_job_is_none_of_ours(inside: Inside) -> None:
    stand(inside, job(1, **{"class": f"{JOB}2"}), b"junk", b"{}", f"{JOB} junk".encode())
    stand(inside, job(2, jid="2", **{"class": "Other", "tags": [JOB]}))
    assert standing(store(), OrderJob) == Standing()


def test_a_digest_of_its_own_wins_over_the_arguments(inside: Inside) -> None:
    stand(inside, job(1, unique_digest="ab" * 16))
    assert standing(store(), OrderJob).jids.keys() == {"ab" * 16}


def test_two_jobs_for_one_work_are_a_double_and_one_that_moved_is_not(inside: Inside) -> None:
    stand(inside, job(1, "a"), job(1, "b"), job(1, "c"))
    inside.put("retry", job(1, "a"), 1)
    assert standing(store(), OrderJob).duplicated == 2


def test_a_class_whose_name_is_not_ascii_is_found_however_it_is_written(inside: Inside) -> None:
    class Übung(OrderJob):
        """A job."""

        abstract = True
        wire_name = "Übung"

    escaped = b'{"class":"\\u00dcbung","args":[1],"jid":"1","queue":"orders"}'
    stand(inside, job(1, **{"class": "Übung"}), escaped)
    assert len(standing(store(), Übung).jids) == 1
    assert standing(store(), Übung).duplicated == 1


def test_a_row_without_job_and_lock_may_be_pushed_at_once(inside: Inside) -> None:
    answers: Counter[Status] = Counter()
    made = drafts(1, 2)
    stand(inside, job(1))
    assert Missing(store(), OrderJob).among(made, answers) == made[1:]
    assert answers == {Status.DUPLICATE: 1}


def test_a_lock_that_belongs_to_no_job_is_ended(inside: Inside) -> None:
    answers: Counter[Status] = Counter()
    made = drafts(1)
    lock = store().keys.unique(digest_of(1))
    inside.client.set(lock, "somebody", px=60_000)
    missing = Missing(store(), OrderJob)
    assert missing.among(made, answers) == []
    assert missing.settle(answers) == made
    assert not inside.client.exists(lock)
    assert answers[Status.DUPLICATE] == 0
    assert missing.settle(answers) == []


def test_a_job_that_was_pushed_since_redis_was_read_keeps_its_lock(inside: Inside) -> None:
    answers: Counter[Status] = Counter()
    made = drafts(1)
    missing = Missing(store(), OrderJob)
    jid = OrderJob.set(on_commit=False).perform_async(1)
    assert missing.among(made, answers) == []
    assert missing.settle(answers) == []
    assert answers == {Status.DUPLICATE: 1}
    assert store().locks.owners([digest_of(1)]) == {digest_of(1): jid}


def test_a_lock_that_has_changed_hands_meanwhile_is_left_alone(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: Counter[Status] = Counter()
    lock = store().keys.unique(digest_of(1))
    inside.client.set(lock, "first", px=60_000)
    missing = Missing(store(), OrderJob)
    missing.among(drafts(1), answers)
    read = room.standing

    def change_hands(*args: Any) -> Standing:
        found = read(*args)
        inside.client.set(lock, "second", px=60_000)
        return found

    monkeypatch.setattr(room, "standing", change_hands)
    missing.settle(answers)
    assert inside.client.get(lock) == b"second"


def test_doubts_are_settled_before_there_are_too_many(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "DOUBTS", 2)
    answers: Counter[Status] = Counter()
    made = drafts(1, 2, 3)
    for number in (1, 3):
        inside.client.set(store().keys.unique(digest_of(number)), "nobody", px=60_000)
    missing = Missing(store(), OrderJob)
    assert missing.among(made[:2], answers) == [made[1]]
    assert missing.among(made[2:], answers) == [made[0], made[2]]


def place_in(inside: Inside, name: str) -> Callable[[bytes], None]:
    keys = store().keys
    return {
        "schedule": lambda raw: inside.put("schedule", raw, 9e9),
        "retry": lambda raw: inside.put("retry", raw, 9e9),
        "held": lambda raw: inside.client.zadd(keys.held(JOB), {raw: 1}),
        "claims": lambda raw: inside.client.hset(keys.claims("host:1:aa"), "x:1:a", raw),
    }[name]


@pytest.mark.parametrize("place", ["schedule", "retry", "held", "claims"])
def test_an_exact_run_pushes_what_is_nowhere_and_only_that(inside: Inside, place: str) -> None:
    Order.objects.bulk_create([Order(pk=key) for key in (1, 2, 3)])
    stand(inside, job(1))  # without a lock: pushed by another program
    place_in(inside, place)(job(2))
    report = reconcile(variant(batch_size=2).plan(), exact=True)
    assert (report.exact, report.pushed, report.duplicates) == (True, 1, 2)
    assert inside.args("orders") == [[1], [3]]
    assert reconcile(variant().plan(), exact=True).pushed == 0
