"""Our own jobs, those of all the other measures. This one runs where the project is installed."""

import django

django.setup()

from benchmarks.jobs import Handover, NoOp  # noqa: E402, only now Django is set up

no_op = NoOp.perform_async
hand_over = Handover.perform_async


def no_ops(numbers):
    """Enqueue many."""
    NoOp.perform_bulk([(number,) for number in numbers])
