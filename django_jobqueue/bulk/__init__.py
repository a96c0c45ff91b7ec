"""
One verb for all jobs of a place that match: carried out here, or by a worker with its progress.

Every job is moved on its own, by a script that looks whether it is still there. So it does not
matter how often an order is begun, who else works in the place, and when it ends.
"""

from django_jobqueue.bulk.asking import ask
from django_jobqueue.bulk.order import Order
from django_jobqueue.bulk.places import Verb, place_of, verbs_of
from django_jobqueue.bulk.records import Standing, recent, standing, stop
from django_jobqueue.bulk.work import carry_out, run_here

__all__ = [
    "Order",
    "Standing",
    "Verb",
    "ask",
    "carry_out",
    "place_of",
    "recent",
    "run_here",
    "standing",
    "stop",
    "verbs_of",
]
