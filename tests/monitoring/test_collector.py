"""The figures in a registry of prometheus_client: the same, and in nobody's way."""

from __future__ import annotations

import builtins
import importlib
import sys
from typing import Any

import pytest

from tests.conftest import JobqueueSettings
from tests.jobsite.jobs import NoopJob

prometheus = pytest.importorskip("prometheus_client")

from django_jobqueue.monitoring import collector  # noqa: E402 - where it is installed
from django_jobqueue.monitoring.exposition import exposition  # noqa: E402
from django_jobqueue.monitoring.figures import read_figures  # noqa: E402


def read(registry: Any) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for metric in registry.collect()
        for sample in metric.samples
    }


def test_registering_asks_nobody_and_finds_names_that_come_twice(
    jobqueue_settings: JobqueueSettings,
) -> None:
    jobqueue_settings(REDIS_URL="redis://127.0.0.1:1/0")
    registry = prometheus.CollectorRegistry(auto_describe=True)
    registry.register(collector.JobQueueCollector())  # no database in this test: it would raise
    with pytest.raises(ValueError, match="jobqueue_up"):
        registry.register(collector.JobQueueCollector())


@pytest.mark.django_db
def test_the_registry_tells_what_the_endpoint_tells(jobqueue_settings: JobqueueSettings) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    jobqueue_settings(ON_COMMIT=False)
    NoopJob.perform_async("x")
    registry = prometheus.CollectorRegistry()
    registry.register(collector.JobQueueCollector())
    found = read(registry)
    text = exposition(read_figures())
    wanted = {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    moving = ("seconds", "redis_")
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert any(word in name for word in moving) or found[name] == value, name
    assert found["jobqueue_enqueued[]"] == 1
    # And its own writer takes them as they are.
    assert b"\njobqueue_enqueued 1.0\n" in prometheus.generate_latest(registry)


@pytest.mark.django_db
def test_a_redis_that_is_away_leaves_the_metrics_of_others_alone(
    jobqueue_settings: JobqueueSettings,
) -> None:
    jobqueue_settings(REDIS_URL="redis://127.0.0.1:1/0")
    registry = prometheus.CollectorRegistry()
    registry.register(collector.JobQueueCollector())
    prometheus.Gauge("other", "Somebody else's", registry=registry).set(5)
    found = read(registry)
    assert (found["jobqueue_up[]"], found["other[]"]) == (0, 5)


def test_without_prometheus_client_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("prometheus_client"):
            raise ImportError(name)
        return found(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, collector.__name__)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"pip install 'django-jobqueue\[prometheus\]'"):
        importlib.import_module(collector.__name__)
