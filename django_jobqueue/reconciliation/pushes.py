"""Push the jobs of a page, and count what became of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from django_jobqueue import clock
from django_jobqueue.client.client import push
from django_jobqueue.client.results import Status
from django_jobqueue.exceptions import EnqueueError, StoreError
from django_jobqueue.job.bound import BATCH, SCHEDULED_BATCH
from django_jobqueue.payload import Payload
from django_jobqueue.reconciliation.drafts import Draft, Faults


def push_all(
    drafts: Sequence[Draft],
    answers: Counter[Status],
    faults: Faults,
    *,
    jitter: float,
    singly: bool,
    healing: bool = True,
) -> None:
    """
    Push jobs, 1,000 in one round trip, or slices of 250 where ``jitter`` (seconds) spreads them.

    A job that a client middleware fails on, or that is too large, counts as an
    error of its row. With ``singly`` each is pushed for itself; without ``healing``
    also for rows that cool down after a death.

    Raises: StoreUnavailable, EnqueueError; TooManyErrors.
    """
    size = SCHEDULED_BATCH if jitter else BATCH
    for first in range(0, len(drafts), size):
        page = drafts[first : first + size]
        jobs = [_timed(draft, jitter) for draft in page]
        if singly or not _push_page(jobs, answers, healing):
            _push_singly(page, jobs, answers, faults, healing)


def _push_page(
    jobs: Sequence[tuple[Payload, float | None]], answers: Counter[Status], healing: bool
) -> bool:
    """Push jobs together; False, and nothing was pushed, when one of them cannot be."""
    try:
        found = push(jobs, on_commit=False, healing=healing)
    except (StoreError, EnqueueError):
        raise
    except Exception:  # a middleware's, or what is wrong with one of them: told of it alone
        return False
    answers.update(answer.status for answer in found)
    return True


def _push_singly(
    drafts: Sequence[Draft],
    jobs: Sequence[tuple[Payload, float | None]],
    answers: Counter[Status],
    faults: Faults,
    healing: bool,
) -> None:
    for draft, job in zip(drafts, jobs, strict=True):
        try:
            (answer,) = push([job], on_commit=False, healing=healing)
        except (StoreError, EnqueueError):
            raise
        except Exception as error:
            faults.add(draft.key, error)
        else:
            answers[answer.status] += 1


def _timed(draft: Draft, jitter: float) -> tuple[Payload, float | None]:
    if not jitter:
        return draft.payload, None
    # Enqueued when its time comes: what waits in the schedule says nothing of it.
    return draft.payload.replace(enqueued_at=None), clock.now() + random.uniform(0, jitter)
