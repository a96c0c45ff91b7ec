"""The jobs on dramatiq."""

import os

import dramatiq
import marks
from dramatiq.brokers.redis import RedisBroker

broker = RedisBroker(url=os.environ["BENCHMARK_REDIS_URL"])
dramatiq.set_broker(broker)

journal = dramatiq.actor(marks.work).send
no_op = dramatiq.actor(marks.no_op).send
hand_over = dramatiq.actor(marks.ran).send
