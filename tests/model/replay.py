"""Tie the model to the real scripts: what it says of a move is tried, on a real Redis."""

from __future__ import annotations

import random
from collections.abc import Iterable

from tests.model.protocol import Label, Protocol
from tests.model.reality import Reality, differences, half
from tests.model.search import Search, said
from tests.model.state import Order, State, describe

Edge = tuple[State, Label, State]


def edges_of(search: Search) -> list[Edge]:
    """Return the transitions of a search, once each as far as Redis can tell them apart."""
    distinct: dict[tuple[object, ...], Edge] = {}
    for before, label, after in search.edges():
        what, who = label.what, label.who
        told: object = None
        if what == "arrive":
            told, who = before.wire[who], -1
        elif what == "recover":
            told, who = before.readings[who], -1
        elif what == "promote":
            told, who = before.polls[who], -1
        elif isinstance(label.detail, Order):
            who = -1
        key = (what, who, label.detail, told, half(before), half(after))
        distinct.setdefault(key, (before, label, after))
    return list(distinct.values())


def try_edges(reality: Reality, edges: Iterable[Edge]) -> int:
    """
    Write the state before each transition, make the move, and compare; return how many.

    Raises: AssertionError where Redis is not as the model says.
    """
    count = 0
    for before, label, after in edges:
        reality.put(half(before))
        compare(reality, before, label, after)
        count += 1
    return count


def walk(reality: Reality, protocol: Protocol, chance: random.Random, steps: int = 60) -> int:
    """
    Go a way from the beginning, as chance has it, and compare after each move; return its length.

    Raises: AssertionError where Redis is not as the model says.
    """
    state = protocol.initial()
    reality.put(half(state))
    for made in range(steps):
        moves = list(protocol.moves(state))
        if not moves:
            return made
        label, after = chance.choice(moves)
        compare(reality, state, label, after)
        state = after
    return steps


def compare(reality: Reality, before: State, label: Label, after: State) -> None:
    """Make a move on the real scripts, and look whether Redis is as the model says."""
    reality.do(label, before, after)
    wrong = differences(reality.look(), half(after))
    assert not wrong, f"{said(label)}, in {describe(before)}: {wrong}"
