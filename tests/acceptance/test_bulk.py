"""An order over many jobs, carried out by a real worker: it outlives a kill, and can be stopped."""

from __future__ import annotations

import time
from typing import Any

import pytest

from django_jobqueue.api import DeadSet, Filter, Queue
from django_jobqueue.bulk import Order, Standing, Verb, ask, standing, stop
from django_jobqueue.connection import store
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.payload import Payload
from tests.api.samples import jid_of
from tests.conftest import JobqueueSettings, StartRunJobs
from tests.jobsite.jobs import NoopJob
from tests.support.inside import Inside, inside
from tests.support.polling import wait_until
from tests.support.processes import RunJobs

__all__ = ["inside"]

#: Seconds for what should take a few.
SOON = 60.0

#: Jobs of an order, so many that a slow middleware takes some seconds for them.
COUNT = 800
SLOWLY: dict[str, Any] = {"CLIENT_MIDDLEWARE": ["tests.jobsite.middleware.Slow"], "LEASE": 15}


@pytest.fixture(autouse=True)
def _configured(jobqueue_settings: JobqueueSettings) -> None:
    jobqueue_settings()


def bury(inside: Inside) -> dict[str, str]:
    """Put unique jobs into the dead set; return their jids by what names their locks."""
    digests = {f"{n:032x}": jid_of(n) for n in range(COUNT)}
    jobs = [
        Payload(
            {
                "class": wire_name(NoopJob), "args": [digest], "jid": jid, "queue": "default",
                "unique_for": 3600.0, "unique_digest": digest, "created_at": 1_000,
            }
        )
        for digest, jid in digests.items()
    ]  # fmt: skip
    inside.client.zadd(inside.key("dead"), {job.encode(): time.time() - 60 for job in jobs})
    return digests


def order(verb: Verb, place: str) -> str:
    return ask(Order(verb, place, Filter(), "ann", time.time()))


def stands(id: str) -> Standing:
    found = standing(id)
    assert found is not None
    return found


def await_begun(id: str, worker: RunJobs, least: int) -> None:
    wait_until(
        lambda: stands(id).done >= least or stands(id).is_over or not worker.is_running,
        SOON,
        lambda: f"{least} jobs, {stands(id)}\n{worker.output()[-2000:]}",
    )
    assert stands(id).state == "running"


def await_over(id: str, worker: RunJobs) -> Standing:
    wait_until(lambda: stands(id).is_over, SOON, lambda: f"{stands(id)}\n{worker.output()[-2000:]}")
    return stands(id)


def test_an_order_is_carried_out_though_its_worker_is_killed(
    inside: Inside, run_jobs: StartRunJobs
) -> None:
    digests = bury(inside)
    retry = order(Verb.RETRY, "dead")
    worker = run_jobs("-q", "reconcilers", "--concurrency", "2", **SLOWLY)
    await_begun(retry, worker, 100)
    killed = worker.kill9_child()
    found = await_over(retry, worker)
    assert killed not in worker.children()
    assert (found.state, found.error) == ("done", "")
    # What was done between the last word and the kill is not counted, and was done once.
    assert 0 < found.done <= COUNT
    assert len(DeadSet()) == 0
    assert sorted(entry.jid for entry in Queue("default")) == sorted(digests.values())
    assert store().locks.owners(digests) == digests

    clear = order(Verb.DELETE, "queue:default")
    found = await_over(clear, worker)
    assert (found.state, found.done) == ("done", COUNT)
    assert len(Queue("default")) == 0
    assert store().locks.owners(digests) == {}
    worker.term()
    assert worker.wait() == 0
    assert not inside.names() & {"dead", "retry", "schedule", "queue:reconcilers"}


def test_an_order_that_is_stopped_ends_and_its_job_with_it(
    inside: Inside, run_jobs: StartRunJobs
) -> None:
    digests = bury(inside)
    retry = order(Verb.RETRY, "dead")
    worker = run_jobs("-q", "reconcilers", "--concurrency", "2", **SLOWLY)
    await_begun(retry, worker, 100)
    assert stop(retry)
    found = await_over(retry, worker)
    assert (found.state, found.is_stopping) == ("stopped", False)
    went = [entry.jid for entry in Queue("default")]
    assert 100 <= len(went) == found.done < COUNT
    assert sorted([*went, *(entry.jid for entry in DeadSet())]) == sorted(digests.values())
    wait_until(lambda: store().stats.counters()["processed"] == 1, SOON, "the end of its job")
    worker.term()
    assert worker.wait() == 0
    assert not inside.names() & {"retry", "schedule", "queue:reconcilers"}


def test_a_worker_that_stops_leaves_its_order_to_the_next(
    inside: Inside, run_jobs: StartRunJobs
) -> None:
    digests = bury(inside)
    retry = order(Verb.RETRY, "dead")
    worker = run_jobs("-q", "reconcilers", "--concurrency", "2", **SLOWLY)
    await_begun(retry, worker, 100)
    worker.term()
    assert worker.wait() == 0
    found = stands(retry)
    assert (found.state, found.error) == ("waiting", "")
    assert found.done == COUNT - len(DeadSet()) < COUNT
    found = await_over(retry, run_jobs("-q", "reconcilers", "--concurrency", "2"))
    assert (found.state, found.done, found.gone) == ("done", COUNT, 0)
    assert store().locks.owners(digests) == digests
