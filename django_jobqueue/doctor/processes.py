"""The worker processes: whether they live, whether their word holds, whether clocks agree."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jobqueue import clock
from django_jobqueue.doctor.finding import Finding, fault, note, warning
from django_jobqueue.doctor.patient import Patient
from django_jobqueue.doctor.words import length, names
from django_jobqueue.store.processes import RECORD_TTL

#: Seconds by which clocks may differ: less is the way of a command, and a beat.
SKEW = 5.0


def check_processes(patient: Patient) -> Iterator[Finding]:
    """Tell when nobody works, and of processes that went without a word."""
    if not patient.processes:
        stats = patient.stats
        waiting = stats.enqueued + sum(
            late > 0 for late in patient.store.checkup.overdue().values()
        )
        make = fault if waiting else warning
        yield make(
            "no-process",
            ngettext(
                "No worker process is alive, and %(count)s job waits for one.",
                "No worker process is alive, and %(count)s jobs wait for one.", waiting,
            ) % {"count": f"{waiting:,}"}
            if waiting else _("No worker process is alive."),
            _("Start one: manage.py runjobs. If one should be running, look at its log: it needs "
              "this Redis and this KEY_PREFIX."),
        )  # fmt: skip
    alive = {process.identity for process in patient.processes}
    silent = {name: left for name, left in patient.leases.items() if name not in alive and left > 0}
    if silent:
        yield note(
            "silent-process",
            _("These processes gave no sign of life for a minute, and their lease has not ended "
              "yet: %(processes)s.") % {"processes": names(silent)},
            _("Nothing: they died, hang, or are cut off from Redis. What they hold is taken back "
              "within %(length)s.") % {"length": length(max(silent.values()))},
        )  # fmt: skip


def check_leases(patient: Patient) -> Iterator[Finding]:
    """Tell of claims that nobody takes back, which is what must not be (I4, and recovery)."""
    # Who takes back must have beaten for a lease, and looks every second or so.
    patience = 2 * patient.settings.lease
    late = [name for name, left in patient.leases.items() if left < -patience]
    held = patient.store.checkup.claims(late)
    if held:
        count = sum(held.values())
        yield fault(
            "lease-over",
            ngettext(
                "The lease of a process ended, and for %(length)s nobody has taken back its "
                "%(count)s job: %(processes)s.",
                "The lease of a process ended, and for %(length)s nobody has taken back its "
                "%(count)s jobs: %(processes)s.", count,
            ) % {
                "count": f"{count:,}", "processes": names(held),
                "length": length(-min(patient.leases[name] for name in held)),
            },
            _("Any worker takes them back once it has run for a minute or so: start one, or look "
              "at the log of those that run for what keeps them."),
        )  # fmt: skip
    orphans = patient.sweep.orphans
    if orphans:
        count = sum(orphans.values())
        yield fault(
            "claims-without-lease",
            ngettext(
                "%(count)s job is claimed by a process without a lease: %(processes)s.",
                "%(count)s jobs are claimed by processes without a lease: %(processes)s.", count,
            ) % {"count": f"{count:,}", "processes": names(orphans)},
            _("Each worker looks for such jobs once an hour and takes them back: let one run. They "
              "are left where somebody deleted “%(key)s”, or Redis lost its last writes.")
            % {"key": patient.store.keys.leases},
        )  # fmt: skip


def check_clocks(patient: Patient) -> Iterator[Finding]:
    """Tell of clocks that go wrong: delays and latencies are off by as much."""
    away = clock.now() - patient.time
    if abs(away) > SKEW:
        yield warning(
            "clock",
            _("The clock of this host and that of Redis are %(length)s apart.")
            % {"length": length(abs(away))},
            _("Let NTP set both. Until then jobs enqueued here for later come as much too early "
              "or too late; leases do not mind."),
        )  # fmt: skip
    wrong = []
    for process in patient.processes:
        if process.beat is None:
            continue
        age = patient.time - process.beat.timestamp()
        if not -SKEW < age < RECORD_TTL + SKEW:
            wrong.append(process.hostname or process.identity)
    if wrong:
        yield warning(
            "process-clock",
            _("The clocks of these hosts are wrong, by that of Redis: %(hosts)s.")
            % {"hosts": names(set(wrong))},
            _("Let NTP set them. Until then times that their jobs are given are off."),
        )  # fmt: skip
