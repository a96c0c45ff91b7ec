"""Give an order that a worker carries out."""

from __future__ import annotations

import json
import logging

from django_jobqueue.bulk.jobs import BulkAction
from django_jobqueue.bulk.order import Order
from django_jobqueue.bulk.records import WAITING, ended
from django_jobqueue.connection import store
from django_jobqueue.exceptions import EnqueueError
from django_jobqueue.payload import new_jid

logger = logging.getLogger("django_jobqueue.bulk")


def ask(order: Order) -> str:
    """
    Have a worker carry out an order, and return its id, for ``standing``.

    At once, whatever transaction is open: what is done to jobs cannot be rolled back
    either. The job is on the queue ``reconcilers``; where nobody works that, or the job is
    refused (by its kill switch, a client middleware, or a Redis that is full), the order
    waits, its ``error`` says why, and ``run_here`` can carry it out.

    Raises: StoreUnavailable, StoreRefused.
    """
    id = new_jid()
    records = store().bulk
    records.open(id, {"order": json.dumps(order.as_dict())})
    try:
        accepted = BulkAction.set(on_commit=False).perform_async(id) is not None
        problem = "a client middleware or the kill switch of BulkAction refused its job"
    except EnqueueError as error:
        accepted, problem = False, str(error)
    if not accepted:
        records.note(id, "", ended(WAITING, f"No worker will do it: {problem}"))
    logger.info("%s, asked for by %s: order %s", order, order.actor or "nobody", id)
    return id
