"""Prefixes: each is new, and in a cluster all are on one node."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from tests.support.prefixes import SLOTS, TOPOLOGY_VARIABLE, is_cluster, new_prefix


def test_every_prefix_is_new_and_says_whose_kind_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOPOLOGY_VARIABLE, raising=False)
    made = [new_prefix("m") for _ in range(50)]
    assert len(set(made)) == 50
    assert all(prefix.startswith("m") and prefix.endswith(":") for prefix in made)
    assert not is_cluster()


def test_in_a_cluster_every_prefix_has_a_slot_of_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOPOLOGY_VARIABLE, "cluster")
    made = [new_prefix() for _ in range(50)]
    assert len(set(made)) == 50
    assert all(key_slot(f"{prefix}queue:a".encode()) in SLOTS for prefix in made)


def test_a_topology_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOPOLOGY_VARIABLE, "clusters")
    with pytest.raises(AssertionError, match="'clusters'"):
        is_cluster()
