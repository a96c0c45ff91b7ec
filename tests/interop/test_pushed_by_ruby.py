"""Jobs that Sidekiq's client pushes, and our worker runs."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.interop.fleet import Fleet

#: Arguments of every kind that JSON has.
KINDS: list[list[Any]] = [
    [],
    [None, True, False],
    [0, -1, 2**53 + 1, 12345678901234567890123, -(2**63)],
    [0.0, -0.5, 1.0, 3.141592653589793, 1e22, 1.5e-7, 1e300, 5e-324],
    ["", "ä ß 漢字 🚆", '"quoted" \\ / <b>', "line\nend\ttab\u0001\u007f\u2028"],
    [[], {}, [[[]]], {"a": {"b": [None, {"c": {}}]}}, {"": 1, "é": "ü", "z": 1, "a": 2}],
]


@pytest.mark.parametrize("args", KINDS, ids=range(len(KINDS)))
def test_arguments_of_every_kind_come_as_they_were(fleet: Fleet, args: list[Any]) -> None:
    assert fleet.django.is_running
    jid = fleet.ruby("|args| DjangoEcho.perform_async(*args)", args)
    (note,) = fleet.await_notes(jid)
    # As text: True is 1 and 1.0 for ==.
    assert (note.by, repr(note.args)) == ("django", repr(args))


def test_delays_and_times_are_kept(fleet: Fleet) -> None:
    assert fleet.django.is_running
    before = time.time()
    soon = fleet.ruby("|| DjangoEcho.perform_in(1.5, 'in')")
    later = fleet.ruby("|at| DjangoEcho.perform_at(at, 'at')", before + 1.5)
    far = fleet.ruby("|| DjangoEcho.perform_in(3600, 'far')")
    entries = {entry.jid: entry for entry in fleet.scheduled}
    assert entries[far].score == pytest.approx(before + 3600, abs=600)
    created_at = entries[far].created_at
    assert created_at is not None
    assert created_at.timestamp() == pytest.approx(before, abs=600)
    assert entries[far].enqueued_at is None
    assert [note.args for note in fleet.await_all([soon, later])] == [["in"], ["at"]]
    assert time.time() >= before + 1.5
    assert fleet.notes(far) == []
    assert entries[far].delete()


def test_many_at_once(fleet: Fleet) -> None:
    assert fleet.django.is_running
    jids = fleet.ruby(
        "|rows| Sidekiq::Client.push_bulk('class' => DjangoEcho, 'args' => rows)",
        [[number] for number in range(1500)],
    )
    more = fleet.ruby("|rows| DjangoEcho.perform_bulk(rows)", [["bulk", n] for n in range(3)])
    found = [note.args for note in fleet.await_all([*jids, *more])]
    assert found == [[n] for n in range(1500)] + [["bulk", n] for n in range(3)]


def test_options_of_one_call_are_obeyed(fleet: Fleet) -> None:
    jid = fleet.ruby(
        "|| DjangoFailure.set(queue: 'elsewhere', retry: 0, tags: ['one']).perform_async('x')"
    )
    (payload,) = [each for each in fleet.queue("elsewhere") if each.jid == jid]
    assert (payload.queue, payload.retry, payload.tags) == ("elsewhere", 0, ["one"])
    with fleet.start_django("-q", "elsewhere"):
        # Without retries it is dead at once.
        entry = fleet.wait("a dead job", lambda: fleet.dead.find(jid))
    assert [note.args for note in fleet.notes(jid)] == [["x"]]
    assert (entry.error_class, entry.queue) == ("ValueError", "elsewhere")


def test_a_class_that_nobody_has_here_waits_and_is_not_lost(fleet: Fleet) -> None:
    assert fleet.django.is_running
    jid = fleet.ruby(
        "|| Sidekiq::Client.push('class' => 'Nobody::Has', 'args' => [1], 'queue' => 'django')"
    )
    # It waits among the scheduled ones: nothing failed yet that would be counted.
    entry = fleet.wait("another try", lambda: fleet.scheduled.find(jid))
    assert (entry.error_class, entry.retry_count) == ("UnknownJob", None)
    seen = fleet.ruby("|jid| Sidekiq::ScheduledSet.new.find_job(jid).item", jid)
    assert (seen["class"], seen["queue"], seen["args"]) == ("Nobody::Has", "django", [1])
    assert fleet.copies(jid) == {"schedule": 1}
