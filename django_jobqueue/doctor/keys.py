"""What stands in Redis: keys of the right type, queues that are listed, room among the dead."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _

from django_jobqueue.doctor.finding import Finding, fault, warning
from django_jobqueue.doctor.patient import Patient
from django_jobqueue.doctor.words import names


def check_types(patient: Patient) -> Iterator[Finding]:
    """Tell of keys that hold what they should not: nobody can work with them."""
    misfits = patient.store.checkup.misfits()
    if misfits:
        yield fault(
            "wrong-type",
            _("In Redis something else stands where these should be: %(keys)s.")
            % {"keys": names([f"{key} ({kind})" for key, kind in misfits.items()])},
            _("Look at each with redis-cli, save what is of use, and delete the key. Another "
              "program may write to this database: give one of them a KEY_PREFIX."),
        )  # fmt: skip


def check_lists(patient: Patient) -> Iterator[Finding]:
    """Tell of queues that the list of queues does not have: no page and no count shows them."""
    unlisted = patient.sweep.unlisted
    if unlisted:
        yield warning(
            "unlisted-queue",
            _("Jobs wait in queues that are not in the list of queues, so that nothing shows "
              "them: %(queues)s.") % {"queues": names(unlisted)},
            _("Enqueue a job to each; that puts it on the list. Or SADD its name to the key "
              "“%(key)s” with redis-cli.") % {"key": patient.store.keys.queues},
        )  # fmt: skip


def check_dead(patient: Patient) -> Iterator[Finding]:
    """Tell when the next job that dies pushes an older one out of the dead set."""
    dead, limit = patient.stats.dead, patient.settings.dead_max_entries
    if dead >= limit:
        yield warning(
            "dead-full",
            _("The dead set has %(dead)s jobs and keeps %(limit)s: with every death the oldest "
              "is gone.") % {"dead": f"{dead:,}", "limit": f"{limit:,}"},
            _("Retry or delete what is there, by the groups of errors, or raise "
              "JOBQUEUE['DEAD_MAX_ENTRIES']."),
        )  # fmt: skip


def check_epoch(patient: Patient) -> Iterator[Finding]:
    """Tell when the marker is missing that goes with all other data."""
    if patient.store.epoch.read() is None:
        yield warning(
            "no-epoch",
            _("The marker “%(key)s” is missing: Redis has lost its data, or no worker has ever "
              "worked with it.") % {"key": patient.store.keys.epoch},
            _("Start a worker (manage.py runjobs): it writes the marker and has all reconcilers "
              "run. Should it be missing again and again, find out who flushes this Redis."),
        )  # fmt: skip
