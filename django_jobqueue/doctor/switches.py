"""The kill switches: those that are on, and those that could not stop anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.utils.translation import gettext as _

from django_jobqueue import clock, conf
from django_jobqueue.doctor.finding import Finding, note, warning
from django_jobqueue.doctor.patient import Patient
from django_jobqueue.doctor.words import epoch, length, names
from django_jobqueue.job.registry import registry
from django_jobqueue.switches import events, flags, naming
from django_jobqueue.switches.state import State

#: Seconds for which a switch may be on before somebody is asked whether it still has to be.
LONG = 86_400.0


def check_switches(patient: Patient) -> Iterator[Finding]:
    """Tell which kill switches are on, and what keeps one from acting."""
    if not flags.is_installed():
        yield note(
            "no-waffle",
            _("waffle is not in INSTALLED_APPS: no job can be stopped by a kill switch."),
            _("Add 'waffle' to INSTALLED_APPS and run manage.py migrate."),
        )
        return
    if conf.KILL_SWITCH_MIDDLEWARE not in patient.settings.client_middleware:
        yield warning(
            "no-middleware",
            _("JOBQUEUE['CLIENT_MIDDLEWARE'] does not name KillSwitch: jobs are enqueued while "
              "their kill switch is on."),
            _("Put %(path)s first.") % {"path": repr(conf.KILL_SWITCH_MIDDLEWARE)},
        )  # fmt: skip
    rows = list(flags.rows())
    states = {row.name: flags.state_of(row) for row in rows}
    stopping = {flag: state for flag, state in states.items() if not state.is_off}
    known = {flag for cls in registry().classes() for flag in naming.flag_names(cls)}
    yield from _on({flag: state for flag, state in stopping.items() if flag in known})
    yield from _of_nobody([flag for flag in stopping if flag not in known])
    yield from _mute([row.name for row in rows if row.name in known and flags.says_nothing(row)])
    yield from _mirror(patient, stopping)


def _on(stopping: Mapping[str, State]) -> Iterator[Finding]:
    now, newest = clock.now(), events.newest() if stopping else {}
    long: dict[str, float] = {}
    short = []
    for flag, state in stopping.items():
        event = newest.get(flag)
        age = 0.0 if event is None else now - epoch(event.at)
        told = flag if state.is_on else f"{flag} ({state})"
        if age > LONG:
            long[told] = age
        else:
            short.append(told)
    if long:
        yield warning(
            "switch-long-on",
            _("Kill switches have been on for up to %(length)s: %(flags)s.")
            % {"length": length(max(long.values())), "flags": names(long)},
            _("Ask who threw it whether it still has to be; its page says who. Turn it off, or "
              "take the job out of the code."),
        )  # fmt: skip
    if short:
        yield note(
            "switch-on",
            _("Kill switches are on: %(flags)s.") % {"flags": names(short)},
            _("Nothing, while the trouble lasts. Turn them off on their page, or with manage.py "
              "jobqueue switches."),
        )  # fmt: skip


def _of_nobody(unknown: list[str]) -> Iterator[Finding]:
    if unknown:
        yield warning(
            "switch-of-nobody",
            _("These flags are on, and no job of this project has a kill switch of that name: "
              "%(flags)s.") % {"flags": names(unknown)},
            _("Correct the name, or delete the flag. A class that was renamed keeps its switch by "
              "kill_switch_aliases."),
        )  # fmt: skip


def _mute(mute: list[str]) -> Iterator[Finding]:
    if mute:
        yield warning(
            "switch-mute",
            _("These kill switches are set to Unknown without a percentage, and so stop nothing, "
              "whatever their other fields say: %(flags)s.") % {"flags": names(mute)},
            _("Set Everyone to Yes or No, or give a percentage."),
        )  # fmt: skip


def _mirror(patient: Patient, stopping: Mapping[str, State]) -> Iterator[Finding]:
    mirrored = patient.store.switches.read()
    wanted = {flag: state.encode() for flag, state in stopping.items()}
    if mirrored is None and not wanted:
        return  # nobody has written one yet, and there is nothing to tell
    if (mirrored or {}) != wanted:
        yield warning(
            "switch-mirror",
            _("What Redis tells the workers of the kill switches is not what the database says."),
            _("Any worker puts it right within seconds: start one, or look at its log for what "
              "keeps it from the database."),
        )  # fmt: skip
