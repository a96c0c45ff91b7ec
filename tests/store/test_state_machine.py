"""The promises hold whatever happens in whatever order, as far as a machine can try."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.store.machine import CellarMachine
from tests.support.server import RedisServer

#: How many examples to try, of ``STEPS`` rules each; the default takes well under a minute.
EXAMPLES = int(os.environ.get("JOBQUEUE_EXAMPLES", "100"))
STEPS = 40

#: Seconds an example may take on a slow machine, over all examples: pytest's own limit is too
#: short for a long search.
PATIENCE = 60 + 5 * EXAMPLES


@pytest.mark.timeout(PATIENCE)
def test_no_order_of_events_breaks_a_promise(redis_server: RedisServer) -> None:
    with redis_server.client() as client:

        class Machine(CellarMachine):
            pass

        Machine.client, Machine.url = client, redis_server.socket_url
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                derandomize=False,
                print_blob=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
