"""The jobs on RQ."""

import os

import marks
import redis
from rq import Queue

queue = Queue(connection=redis.Redis.from_url(os.environ["BENCHMARK_REDIS_URL"]))

#: Nobody asks for what a job returns.
RESULT_TTL = 0


def journal(ident, seconds):
    """Enqueue one that writes to the journal."""
    queue.enqueue(marks.work, ident, seconds, result_ttl=RESULT_TTL)


def no_op(number):
    """Enqueue one that does nothing."""
    queue.enqueue(marks.no_op, number, result_ttl=RESULT_TTL)


def no_ops(numbers):
    """Enqueue many."""
    queue.enqueue_many(
        [Queue.prepare_data(marks.no_op, (number,), result_ttl=RESULT_TTL) for number in numbers]
    )


def hand_over(number, sent_at):
    """Enqueue one that knows when it was sent."""
    queue.enqueue(marks.ran, number, sent_at, result_ttl=RESULT_TTL)
