"""What counts as growth, and that processes are looked at."""

from __future__ import annotations

import os

import pytest

from tests.chaos.vitals import VITALS, Vital, cpu_seconds, in_use, mean, of_process, tenths


def test_growth_is_judged_by_a_share_or_an_amount() -> None:
    vital = Vital("worker RSS MB", share=0.1, amount=5)
    assert vital.is_flat(100, 110)
    assert not vital.is_flat(100, 111)
    assert vital.is_flat(10, 15)
    assert not vital.is_flat(10, 16)
    assert Vital("chart keys").is_flat(1, 1000) is None


def test_threads_may_not_grow_at_all_in_a_supervisor() -> None:
    (threads,) = [vital for vital in VITALS if vital.name == "supervisor threads"]
    assert threads.is_flat(1, 1)
    assert not threads.is_flat(1, 2)


def test_the_first_tenth_is_compared_with_the_last() -> None:
    assert tenths([1, 3, 2, *[50] * 24, 7, 9, 8]) == (2, 8)
    assert tenths([4]) == (4, 4)


def test_a_process_sees_what_it_holds_and_not_what_is_garbage() -> None:
    before = in_use()["worker objects"]
    held = [[number] for number in range(20_000)]
    assert before + 20_000 <= in_use()["worker objects"]
    for each in held:
        each.append(each)  # type: ignore[arg-type]
    held.clear()
    del each
    assert in_use()["worker objects"] < before + 5_000


def test_a_block_of_malloc_is_seen() -> None:
    before = in_use()
    if "worker malloc in use MB" not in before:
        pytest.skip("only the GNU C library, from 2.33 on, tells what malloc has")
    held = bytes(3 * 1024 * 1024)
    grown = in_use()["worker malloc in use MB"] - before["worker malloc in use MB"]
    assert 2.5 < grown < 4
    assert held


def test_samples_have_a_mean() -> None:
    assert mean([{"a": 1, "b": 2}, {"a": 3, "b": 2}]) == {"a": 2, "b": 2}


def test_a_process_is_looked_at() -> None:
    before = of_process(os.getpid())
    with open(os.devnull):
        rss, threads, descriptors = of_process(os.getpid())
    assert rss > 1
    assert threads >= 1
    assert descriptors == before[2] + 1
    assert cpu_seconds(os.getpid()) > 0
