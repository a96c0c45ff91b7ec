"""The jobs on huey."""

import os

import marks
from huey import RedisHuey

huey = RedisHuey("benchmark", url=os.environ["BENCHMARK_REDIS_URL"], results=False)

journal = huey.task()(marks.work)
no_op = huey.task()(marks.no_op)
hand_over = huey.task()(marks.ran)
