"""
The jobs on nothing but a list: ``python brpop_app.py THREADS`` is the worker.

What most people's first job system looks like. What a killed worker holds is gone.
"""

import json
import os
import sys
import threading
import time
import uuid

import marks
import redis

QUEUE = "queue"

PERFORM = {"journal": marks.work, "no_op": marks.no_op, "hand_over": marks.ran}

client = redis.Redis.from_url(os.environ["BENCHMARK_REDIS_URL"], protocol=2)


def journal(ident, seconds):
    """Enqueue one that writes to the journal."""
    client.lpush(QUEUE, _made("journal", ident, seconds))


def no_op(number):
    """Enqueue one that does nothing."""
    client.lpush(QUEUE, _made("no_op", number))


def no_ops(numbers):
    """Enqueue many."""
    client.lpush(QUEUE, *[_made("no_op", number) for number in numbers])


def hand_over(number, sent_at):
    """Enqueue one that knows when it was sent."""
    client.lpush(QUEUE, _made("hand_over", number, sent_at))


def _made(name, *arguments):
    # As much as a job of Sidekiq's format says about itself.
    now = time.time()
    return json.dumps(
        {
            "class": name,
            "args": arguments,
            "jid": uuid.uuid4().hex,
            "queue": "default",
            "retry": True,
            "created_at": now,
            "enqueued_at": now,
        }
    )


def loop():
    """Take jobs one by one and run them, for ever."""
    while True:
        _, raw = client.brpop([QUEUE])
        job = json.loads(raw)
        PERFORM[job["class"]](*job["args"])


if __name__ == "__main__":
    for _ in range(int(sys.argv[1]) - 1):
        threading.Thread(target=loop, daemon=True).start()
    loop()
