"""Held jobs and the reconciler of their class: never two of one row."""

from __future__ import annotations

import pytest

from django_jobqueue.connection import store
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.disabled import held
from django_jobqueue.payload import Payload
from django_jobqueue.reconciliation.run import reconcile
from django_jobqueue.scheduling import releaser
from django_jobqueue.scheduling.releaser import LOOK, Releaser
from django_jobqueue.store.claims import HELD, Move
from django_jobqueue.store.locks import lock_of
from tests.conftest import JobqueueSettings
from tests.healing.jobs import OrderJob, variant
from tests.healing.models import Order

ME = "host:1:abc"


@pytest.mark.django_db
def test_a_row_whose_job_is_held_gets_no_second_one_before_or_after_its_release(
    jobqueue_settings: JobqueueSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobqueue_settings(KILL_SWITCH={"RELEASE_RATE": 1_000_000})
    monkeypatch.setattr(releaser, "RAMP", 0.0)
    rows = Order.objects.bulk_create([Order() for _ in range(5)])
    job = OrderJob.set(on_commit=False)
    assert job.perform_bulk([(row.pk,) for row in rows]).pushed == 5
    name = wire_name(OrderJob)

    # A worker holds them, as it does while the switch is on.
    claims = store().claims
    claimed = claims.step(ME, lease=60, batch="1", wanted=10, queues=["orders"]).claimed
    payloads = [Payload.decode(claim.raw) for claim in claimed]
    moves = [
        Move(
            HELD, claim.field, held(payload, "queue").encode(),
            job_class=name, lock=lock_of(payload),
        )
        for claim, payload in zip(claimed, payloads, strict=True)
    ]  # fmt: skip
    claims.step(ME, lease=60, batch="2", wanted=0, queues=[], moves=moves)
    assert store().held.classes() == {name: 5}

    # It is off again: the reconciler is triggered at once, beside the release.
    report = reconcile(variant().plan())
    assert (report.found, report.pushed, report.duplicates) == (5, 0, 5)
    duty = Releaser(store())
    while duty.tick() != LOOK:
        pass
    report = reconcile(variant().plan())
    assert (report.pushed, report.duplicates) == (0, 5)
    released = [Payload.decode(raw).args for raw in store().queues.page("orders")]
    assert released == [[row.pk] for row in rows]
