"""What waits: whether somebody works it, whether somebody paused it, whether it goes on in time."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jobqueue.api import Stats
from django_jobqueue.doctor.finding import Finding, fault, warning
from django_jobqueue.doctor.patient import Patient
from django_jobqueue.doctor.words import length, names

#: Seconds that jobs may wait where nobody works them: a deploy takes as long.
PATIENCE = 60.0

#: Seconds that a due job may stay in its set: a middleware that raises puts it off by a minute.
OVERDUE = 90.0


def check_queues(patient: Patient) -> Iterator[Finding]:
    """Tell of queues with jobs that stay there."""
    stats = patient.stats
    # Where nobody works at all, another finding says so, once.
    unworked = [name for name in stats.unworked if name not in stats.paused]
    if patient.processes:
        named = {queue for process in patient.processes for queue in process.queues}
        yield from _unworked(stats, [name for name in unworked if name not in named])
        yield from _quiet(stats, [name for name in unworked if name in named])
    paused = [name for name in stats.paused if stats.queues.get(name)]
    if paused:
        count = sum(stats.queues[name] for name in paused)
        yield warning(
            "paused-queue",
            ngettext(
                "Paused, with %(count)s job that waits: %(queues)s.",
                "Paused, with %(count)s jobs that wait: %(queues)s.", count,
            ) % {"count": f"{count:,}", "queues": names(paused)},
            _("Resume what nobody wants to be paused, on its page or with manage.py jobqueue "
              "resume NAME."),
        )  # fmt: skip


def _unworked(stats: Stats, queues: list[str]) -> Iterator[Finding]:
    if queues:
        late = max(stats.latencies[name] for name in queues)
        make = fault if late > PATIENCE else warning
        yield make(
            "unworked-queue",
            _("Jobs wait in queues that no process works: %(queues)s; the oldest for %(length)s.")
            % {"queues": names(queues), "length": length(late)},
            _("Name the queue to a worker: JOBQUEUE['QUEUES'], or manage.py runjobs --queue NAME."),
        )


def _quiet(stats: Stats, queues: list[str]) -> Iterator[Finding]:
    if queues:
        late = max(stats.latencies[name] for name in queues)
        make = fault if late > PATIENCE else warning
        yield make(
            "quiet-queue",
            _("Jobs wait in queues whose processes are all quiet: %(queues)s; the oldest for "
              "%(length)s.") % {"queues": names(queues), "length": length(late)},
            _("Start a worker, or start the quiet ones again: what is quiet takes no job any more. "
              "In a deploy it goes by itself."),
        )  # fmt: skip


def check_promotion(patient: Patient) -> Iterator[Finding]:
    """Tell of scheduled jobs and retries whose time has come and who are still there."""
    late = {name: for_ for name, for_ in patient.store.checkup.overdue().items() if for_ > OVERDUE}
    if late and patient.processes:
        yield fault(
            "overdue",
            _("The time of jobs has come, and nobody lets them go to their queues: %(sets)s; the "
              "first was due %(length)s ago.")
            % {"sets": names(late), "length": length(max(late.values()))},
            _("Look at the logs of the workers. A client middleware that raises keeps a job where "
              "it is; else one of ours has to be running, for Sidekiq's do it in their own way."),
        )  # fmt: skip
