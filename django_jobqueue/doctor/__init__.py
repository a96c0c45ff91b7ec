"""
What is wrong with Redis, the workers and what waits, and what to do about it.

``examine()`` looks, within a bound of time, at what has to be true (the invariants of the
protocol) and at what had better be; it changes nothing. Commands, pages and health
checks tell what it found.
"""

from django_jobqueue.doctor.examination import BUDGET, examine
from django_jobqueue.doctor.finding import Finding, Level

__all__ = ["BUDGET", "Finding", "Level", "examine"]
