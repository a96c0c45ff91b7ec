"""
The figures for a registry of the project's own, where it has one: needs prometheus_client.

The endpoint of the dashboard does without.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db import close_old_connections

from django_jobqueue.monitoring.families import COUNTER, DECLARED, Family
from django_jobqueue.monitoring.figures import read_figures

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
except ImportError as error:
    raise ImportError(
        "JobQueueCollector needs prometheus_client: pip install 'django-jobqueue[prometheus]'."
    ) from error


class JobQueueCollector:
    """
    Tells a registry of prometheus_client about the job queue, as it stands at each scrape.

    ::

        from prometheus_client import REGISTRY

        from django_jobqueue.monitoring.collector import JobQueueCollector

        REGISTRY.register(JobQueueCollector())

    It keeps nothing between two scrapes, so it may be registered in as many processes as
    one likes; registering it asks nobody. While Redis is away ``jobqueue_up`` is 0, and
    the other metrics of the registry are told all the same.
    """

    def describe(self) -> Iterator[Metric]:
        """Yield the families without values: the registry looks for names that come twice."""
        return (_metric(Family(declared)) for declared in DECLARED)

    def collect(self) -> Iterator[Metric]:
        """Yield what there is now, as ``read_figures`` reads it."""
        # It may be the thread of an exporter, where no request ends and closes them.
        close_old_connections()
        try:
            figures = read_figures()
        finally:
            close_old_connections()
        return map(_metric, figures)


def _metric(family: Family) -> Metric:
    declared = family.declared
    kind = CounterMetricFamily if declared.kind == COUNTER else GaugeMetricFamily
    metric = kind(family.name, declared.help, labels=declared.labels)
    for labels, value in family.series.items():
        metric.add_metric(labels, value)
    return metric
