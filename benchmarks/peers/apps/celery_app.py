"""The jobs on Celery."""

import os

import marks
from celery import Celery

app = Celery("benchmark", broker=os.environ["BENCHMARK_REDIS_URL"])
app.conf.update(
    task_ignore_result=True,
    task_acks_late=os.environ.get("BENCHMARK_ACKS_LATE") == "1",
    broker_connection_retry_on_startup=True,
)

journal = app.task(marks.work, name="journal").delay
no_op = app.task(marks.no_op, name="no_op").delay
hand_over = app.task(marks.ran, name="hand_over").delay
