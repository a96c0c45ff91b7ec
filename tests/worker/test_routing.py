"""Which jobs run on the event loop: their bytes tell, in whatever order their fields stand."""

from __future__ import annotations

import pytest

from django_jobqueue import Job, Payload
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.store.claims import Claim
from django_jobqueue.worker.options import QueueOrder, WorkerOptions
from django_jobqueue.worker.routing import Routing, with_routing


class PlainJob(Job):
    """For threads."""

    retry_queue = "again"

    def perform(self) -> None:
        """Do nothing."""


class LoopJob(Job):
    """For the event loop."""

    queue = "aio"
    retry_queue = "again"

    async def perform(self) -> None:
        """Do nothing."""


class NamedJob(LoopJob):
    """With a name that JSON has to escape."""

    wire_name = 'Loop"Jöb'


ROUTING = [PlainJob, LoopJob, NamedJob]


def claim(raw: bytes, queue: str = "aio") -> Claim:
    return Claim(f"1:1:{queue}", queue, raw)


def payload(name: str) -> Payload:
    return Payload({"class": name, "args": [], "jid": "b" * 24})


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (payload(wire_name(LoopJob)).encode(), True),
        (payload(wire_name(PlainJob)).encode(), False),
        (payload(wire_name(NamedJob)).encode(), True),
        (
            b'{"args":[{"class":"x"}],"jid":"1","class":"' + wire_name(LoopJob).encode() + b'"}',
            True,
        ),
        (payload("gone.Job").encode(), False),
        (b'{"class":"', False),
        (b"junk", False),
        (b"\xff", False),
        (b"[" * 5000, False),
    ],
    ids=["async", "plain", "escaped", "elsewhere", "unknown", "cut", "junk", "no text", "deep"],
)
def test_the_class_in_the_bytes_of_a_job_decides(raw: bytes, expected: bool) -> None:
    assert Routing(ROUTING).is_async(claim(raw)) is expected


def test_a_queue_has_the_kinds_of_the_classes_that_name_it() -> None:
    routing = Routing(ROUTING)
    assert routing.kinds_in("default") == {False}
    assert routing.kinds_in("aio") == {True}
    assert routing.kinds_in("again") == {True, False}
    assert routing.kinds_in("nobody's") == {True, False}


def test_a_job_in_a_queue_that_no_class_names_for_it_is_remembered() -> None:
    routing = Routing(ROUTING)
    assert routing.is_async(claim(payload(wire_name(LoopJob)).encode(), "default"))
    assert routing.kinds_in("default") == {True, False}
    assert not routing.is_async(claim(payload(wire_name(PlainJob)).encode(), "aio"))
    assert routing.kinds_in("aio") == {True, False}


def test_there_is_an_event_loop_only_where_it_is_wanted_and_an_async_job_exists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queues = QueueOrder({"default": 1})
    some = WorkerOptions(queues, async_concurrency=5)
    none = WorkerOptions(queues, async_concurrency=0)
    assert with_routing(none) == (none, None)
    options, routing = with_routing(some)
    assert options is some
    assert routing is not None
    assert routing.has_async
    monkeypatch.setattr("django_jobqueue.job.registry.Registry.classes", lambda self: [PlainJob])
    assert with_routing(some) == (none, None)
