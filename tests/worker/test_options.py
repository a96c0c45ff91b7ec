"""What a worker was asked to do: the flags of ``runjobs``, checked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jobqueue.exceptions import BootError
from django_jobqueue.worker.options import QueueOrder, WorkerOptions


@pytest.mark.parametrize(
    ("entries", "weights"),
    [
        (["default"], {"default": 1}),
        (["critical,6", "default,3"], {"critical": 6, "default": 3}),
        (["a,b,c"], {"a": 1, "b": 1, "c": 1}),
        (["a, b ,c"], {"a": 1, "b": 1, "c": 1}),
        (["a,2", "b,c"], {"a": 2, "b": 1, "c": 1}),
        (["a,1,b"], {"a": 1, "1": 1, "b": 1}),
        (["a", "a,4"], {"a": 4}),
        (["7"], {"7": 1}),
    ],
)
def test_queues_are_names_weights_and_comma_lists(
    entries: list[str], weights: dict[str, int]
) -> None:
    order = QueueOrder.parse(entries)
    assert order.weights == weights
    assert order.names == list(weights)


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ([], "no queue to work on: give --queue NAME"),
        ([""], "--queue '': '' is not a queue name"),
        (["a,"], "--queue 'a,': '' is not a queue name"),
        (["a b"], "--queue 'a b': 'a b' is not a queue name"),
        (["a:b"], "'a:b' is not a queue name"),
        (["{a}"], "'{a}' is not a queue name"),
        (["x" * 65], "is not a queue name: use 1 to 64 of the characters"),
        (["😀"], "'😀' is not a queue name"),
        (["a\nb"], r"'a\nb' is not a queue name"),
        (["a,0"], "--queue 'a,0': a weight is a number from 1 on"),
        (["a,-1"], "--queue 'a,-1': a weight is a number from 1 on"),
        (["a,²"], "'²' is not a queue name"),
        (["a,--5", "b c"], "'b c' is not a queue name"),
    ],
    ids=repr,
)
def test_an_entry_that_is_none_is_told(entries: list[str], complaint: str) -> None:
    with pytest.raises(BootError) as caught:
        QueueOrder.parse(entries)
    assert complaint in str(caught.value)
    assert caught.value.exit_code == 1


def test_strict_queues_are_asked_in_the_order_given() -> None:
    order = QueueOrder.parse(["c", "a,9", "b"], strict=True)
    assert all(order.draw() == ["c", "a", "b"] for _ in range(20))
    assert order.mode == "strict"


def test_a_single_queue_needs_no_draw() -> None:
    assert QueueOrder({"a": 3}).draw() == ["a"]


@pytest.mark.parametrize(
    ("weights", "mode"),
    [({"a": 1, "b": 1}, "random"), ({"a": 2, "b": 2}, "random"), ({"a": 2, "b": 1}, "weighted")],
)
def test_the_mode_is_told_in_sidekiqs_words(weights: dict[str, int], mode: str) -> None:
    assert QueueOrder(weights).mode == mode


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 10**6), min_size=1))
def test_every_draw_has_every_queue_once(weights: dict[str, int]) -> None:
    assert sorted(QueueOrder(weights).draw()) == sorted(weights)


def test_a_queue_of_twice_the_weight_comes_first_twice_as_often() -> None:
    firsts = Counter(QueueOrder({"six": 6, "three": 3}).draw()[0] for _ in range(6_000))
    # Expected are 4,000 of 6,000; the bounds are more than ten standard deviations away.
    assert 3_600 < firsts["six"] < 4_400


def test_queues_of_one_weight_come_first_equally_often() -> None:
    firsts = Counter(QueueOrder(dict.fromkeys("abc", 1)).draw()[0] for _ in range(6_000))
    assert all(1_600 < firsts[name] < 2_400 for name in "abc")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"concurrency": 0}, "--concurrency 0: it is a number from 1 on"),
        ({"concurrency": -1}, "--concurrency -1"),
        ({"async_concurrency": -1}, "--async-concurrency -1: it is a number from 0 on"),
        ({"processes": 0}, "--processes 0: it is a number from 1 on"),
        ({"timeout": -0.1}, "--timeout -0.1: it is a number of seconds from 0 on"),
        ({"timeout": float("nan")}, "--timeout nan"),
    ],
    ids=str,
)
def test_a_number_that_cannot_be_is_told(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BootError) as caught:
        WorkerOptions(QueueOrder({"a": 1}), **options)
    assert complaint in str(caught.value)


def test_the_smallest_worker_is_possible() -> None:
    options = WorkerOptions(QueueOrder({"a": 1}), concurrency=1, processes=1, timeout=0)
    assert not options.burst
