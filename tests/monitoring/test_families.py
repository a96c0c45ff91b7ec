"""The figures are told as Prometheus reads them, whatever the names in them are."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from django_jobqueue.monitoring.exposition import exposition
from django_jobqueue.monitoring.families import DECLARED, LONGEST, MOST_SERIES, Figures

parser = pytest.importorskip("prometheus_client.parser")

PROJECT = Path(__file__).resolve().parents[2]

#: Names that somebody may push: they are data, whatever they look like.
HOSTILE = (
    'a"b', "a\\b", "a\nb", "a b", "{}", 'x"} 1\nmade_up 5', "\x00", "\x1b[31m", "é", "\U0001f600",
    "\ud800", "\u202e", "\r", "",
)  # fmt: skip


def parsed(figures: Figures) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return what Prometheus's own reader understands: values by name and labels."""
    text = exposition(figures)
    text.encode()  # it has to go over the wire
    found = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, tuple(sample.labels.values())
            assert key not in found, key
            found[key] = sample.value
    return found


def test_names_and_labels_are_those_that_prometheus_allows() -> None:
    assert len({each.name for each in DECLARED}) == len(DECLARED)
    for each in DECLARED:
        assert re.fullmatch("[a-z_]+", each.name)
        assert each.name.endswith("_total") == (each.kind == "counter")
        assert all(re.fullmatch("[a-z_]+", label) for label in each.labels)
        assert each.help.endswith(".")
        # Prometheus has these for itself, and gives ours another name.
        assert not {"job", "instance"}.intersection(each.labels)


def test_values_come_back_as_they_were_set() -> None:
    figures = Figures()
    figures.set("enqueued", 3)
    figures.set("dead", 1e300)
    figures.set("queue_latency_seconds", 0.125, "low")
    figures.set("queue_latency_seconds", math.inf, "high")
    figures.set("processed_total", 12)
    assert parsed(figures) == {
        ("jobqueue_enqueued", ()): 3.0,
        ("jobqueue_dead", ()): 1e300,
        ("jobqueue_queue_latency_seconds", ("low",)): 0.125,
        ("jobqueue_queue_latency_seconds", ("high",)): math.inf,
        ("jobqueue_processed_total", ()): 12.0,
    }


def test_a_number_beyond_all_floats_is_infinite() -> None:
    figures = Figures()
    figures.set("dead", 10**400)
    assert parsed(figures) == {("jobqueue_dead", ()): math.inf}


def test_no_name_makes_a_line_of_its_own() -> None:
    figures = Figures()
    for number, name in enumerate(HOSTILE):
        figures.set("queue_size", number, name)
    found = parsed(figures)
    assert {name for name, _ in found} == {"jobqueue_queue_size"}
    # All are there: none was taken for another.
    assert sorted(found.values()) == list(range(len(HOSTILE)))
    assert all(label.isprintable() for _, labels in found for label in labels)


def test_of_two_that_look_the_same_the_first_is_told() -> None:
    figures = Figures()
    figures.set("queue_size", 1, "a\nb")
    figures.set("queue_size", 2, r"a\nb")
    assert parsed(figures) == {("jobqueue_queue_size", (r"a\nb",)): 1.0}


def test_what_is_too_much_is_left_out_and_counted() -> None:
    figures = Figures()
    for number in range(MOST_SERIES + 5):
        figures.set("queue_size", number, f"q{number}")
    figures.set("held", 1, "x" * (LONGEST + 1))
    found = parsed(figures)
    assert sum(name == "jobqueue_queue_size" for name, _ in found) == MOST_SERIES
    assert ("jobqueue_held", ()) not in found
    assert found["jobqueue_left_out", ("queue_size",)] == 5
    assert found["jobqueue_left_out", ("held",)] == 1


def test_a_family_without_values_is_not_told() -> None:
    assert exposition(Figures()) == ""


def test_the_manual_alarms_by_figures_that_are_told() -> None:
    page = (PROJECT / "docs" / "howto" / "monitoring.rst").read_text()
    named = set(re.findall(r"(?<![a-z_])jobqueue_([a-z_]+)", page))
    assert named - {each.name for each in DECLARED} == set()
    assert len(named) > 10
