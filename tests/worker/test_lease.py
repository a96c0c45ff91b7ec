"""The gate before every start of a job: closed as soon as others may have taken what we hold."""

from __future__ import annotations

import pytest

from django_jobqueue.worker.lease import SAFE_PART, Lease
from tests.support.clocks import FrozenClock, freeze

SECONDS = 60.0
SAFE = SAFE_PART * SECONDS


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """Time stands still."""
    return freeze(monkeypatch)


@pytest.fixture
def lease(clock: FrozenClock) -> Lease:
    """A lease that was just taken."""
    return Lease(SECONDS)


def is_safe(lease: Lease) -> bool:
    return lease.is_safe


def test_the_gate_closes_at_four_fifths_of_the_lease(lease: Lease, clock: FrozenClock) -> None:
    assert SAFE == 48
    clock.advance(SAFE - 0.01)
    assert is_safe(lease)
    clock.advance(0.02)
    assert not is_safe(lease)


def test_each_beat_keeps_it_open_from_the_time_it_was_sent(
    lease: Lease, clock: FrozenClock
) -> None:
    clock.advance(10)
    sent_at = clock.monotonic
    clock.advance(5)  # the reply took its time
    lease.renewed(sent_at, lapsed=False)
    clock.advance(SAFE - 5 - 0.01)
    assert is_safe(lease)
    clock.advance(0.02)
    assert not is_safe(lease)


def test_a_beat_that_came_too_late_closes_it_until_the_claims_were_compared(
    lease: Lease, clock: FrozenClock
) -> None:
    clock.advance(SAFE + 1)
    lease.renewed(clock.monotonic, lapsed=False)
    assert lease.audit_due
    assert not is_safe(lease)
    clock.advance(1)
    lease.renewed(clock.monotonic, lapsed=False)  # no further beat opens it
    assert not is_safe(lease)
    lease.audited(clock.monotonic)
    assert is_safe(lease)
    assert not lease.audit_due


def test_a_lease_that_lapsed_at_the_server_closes_it_at_once(
    lease: Lease, clock: FrozenClock
) -> None:
    clock.advance(1)
    lease.renewed(clock.monotonic, lapsed=True)
    assert lease.audit_due
    assert not is_safe(lease)


def test_an_earlier_beat_that_is_answered_later_does_not_open_it(
    lease: Lease, clock: FrozenClock
) -> None:
    sent_before = clock.monotonic
    clock.advance(1)
    lease.renewed(clock.monotonic, lapsed=True)
    lease.renewed(sent_before, lapsed=False)
    assert not is_safe(lease)
    assert lease.audit_due


def test_after_the_comparison_it_is_open_for_as_long_as_its_own_renewal_is_good(
    lease: Lease, clock: FrozenClock
) -> None:
    lease.renewed(clock.monotonic, lapsed=True)
    renewed_at = clock.monotonic
    clock.advance(SAFE + 1)  # stopped in the middle of the comparison
    lease.audited(renewed_at)
    assert not is_safe(lease)


def test_time_is_unbroken_from_the_start_on(lease: Lease, clock: FrozenClock) -> None:
    for _ in range(10):
        clock.advance(10)
        lease.renewed(clock.monotonic, lapsed=False)
    assert lease.unbroken_for == 100


def test_a_failed_beat_breaks_it_though_the_lease_may_hold(
    lease: Lease, clock: FrozenClock
) -> None:
    clock.advance(20)
    lease.broken()
    assert is_safe(lease)
    assert lease.unbroken_for == 0
    clock.advance(5)
    assert lease.unbroken_for == 5


def test_a_lapse_breaks_it(lease: Lease, clock: FrozenClock) -> None:
    clock.advance(20)
    lease.renewed(clock.monotonic, lapsed=True)
    lease.audited(clock.monotonic)
    clock.advance(3)
    assert lease.unbroken_for == 3


def test_nothing_is_unbroken_while_the_gate_is_closed(lease: Lease, clock: FrozenClock) -> None:
    clock.advance(SAFE + 100)
    assert lease.unbroken_for == 0
