"""Time in the hands of a test: what the package asks of ``clock`` is answered from here."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from django_jobqueue import clock


@dataclass(slots=True)
class FrozenClock:
    """Stands still until it is moved. ``now`` in epoch seconds, ``monotonic`` in seconds."""

    now: float = 1_800_000_000.25
    monotonic: float = 5_000.0

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self.now += seconds
        self.monotonic += seconds


@dataclass(slots=True)
class ShiftedClock:
    """Runs as the real one, and jumps ahead when told to."""

    ahead: float = 0.0

    def advance(self, seconds: float) -> None:
        """Jump ahead."""
        self.ahead += seconds


def freeze(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Stop the package's clock for this test."""
    frozen = FrozenClock()
    monkeypatch.setattr(clock, "now", lambda: frozen.now)
    monkeypatch.setattr(clock, "monotonic", lambda: frozen.monotonic)
    return frozen


def shift(monkeypatch: pytest.MonkeyPatch) -> ShiftedClock:
    """Let the test move the package's clock ahead of the real one, for threads that must go on."""
    shifted = ShiftedClock()
    monkeypatch.setattr(clock, "now", lambda: time.time() + shifted.ahead)
    monkeypatch.setattr(clock, "monotonic", lambda: time.monotonic() + shifted.ahead)
    return shifted
