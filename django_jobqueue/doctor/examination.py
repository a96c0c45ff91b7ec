"""All checks, one after the other: what one of them cannot see keeps no other from looking."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django.db import Error as DatabaseFault
from django.utils.translation import gettext as _

from django_jobqueue.doctor import keys, locks, processes, queues, server, switches, timetables
from django_jobqueue.doctor.finding import Finding, Level, fault, note
from django_jobqueue.doctor.patient import Patient
from django_jobqueue.exceptions import AccessDenied, StoreError, StoreUnavailable
from django_jobqueue.payload import printable
from django_jobqueue.store.store import Store

#: Seconds for those checks that could look for long, where nothing is said.
BUDGET = 1.0

Check = Callable[[Patient], Iterator[Finding]]

#: In the order in which they are told among others as bad. What looks for long comes last.
_CHECKS: tuple[Check, ...] = (
    server.check_kind, server.check_memory, server.check_persistence, server.check_rights,
    server.check_network,
    processes.check_processes, queues.check_queues, queues.check_promotion,
    timetables.check_reconcilers, timetables.check_schedules, switches.check_switches,
    keys.check_types, keys.check_dead, keys.check_epoch, processes.check_clocks,
    processes.check_leases, keys.check_lists, locks.check_locks,
)  # fmt: skip

_ORDER = list(Level)


def examine(store: Store | None = None, *, budget: float = BUDGET) -> list[Finding]:
    """
    Look for what is wrong, and return what was found, the worst first; changes nothing.

    ``budget`` is for how many seconds those checks may look that read much; what they had
    no time for is told as well. All others take some round trips. ``store`` is another Redis
    than the settings'.

    Raises no StoreError and no error of the database: that one of them does not answer is
    a finding, too. Raises: ImproperlyConfigured.
    """
    patient = Patient(store, budget)
    found: list[Finding] = []
    for check in _CHECKS:
        try:
            found += check(patient)
        except AccessDenied as error:
            found.append(_refused(error))
        except StoreUnavailable as error:
            found.append(_unreachable(error))
            break  # all others would wait for it in turn
        except StoreError as error:
            found.append(_refused(error))
        except DatabaseFault as error:
            found.append(_no_database(error))
    if patient.is_cut_short:
        found.append(_cut_short(budget))
    # One key of a wrong type stops several checks in the same words.
    return sorted(dict.fromkeys(found), key=lambda finding: _ORDER.index(finding.level))


def _unreachable(error: StoreError) -> Finding:
    return fault(
        "unreachable",
        _("Redis does not answer: %(error)s.") % {"error": printable(str(error))},
        _("See that it runs and that JOBQUEUE['REDIS_URL'] leads to it. Nothing more was looked "
          "at."),
    )  # fmt: skip


def _refused(error: StoreError) -> Finding:
    return fault(
        "refused",
        _("Redis refuses to tell: %(error)s.") % {"error": printable(str(error))},
        _("Mend what it names: a key of a wrong type, or the rights of our user (manage.py "
          "jobqueue acl). What this check looks for may be there, unseen."),
    )  # fmt: skip


def _no_database(error: Exception) -> Finding:
    return fault(
        "no-database",
        _("The database does not answer, so that reconcilers, timetables or kill switches could "
          "not be looked at: %(error)s") % {"error": printable(str(error))[:300]},
        _("See that it runs, and that manage.py migrate was run."),
    )  # fmt: skip


def _cut_short(budget: float) -> Finding:
    return note(
        "cut-short",
        _("Not everything was looked at within %(budget)g s: there are too many keys or jobs.")
        % {"budget": budget},
        _("Give it more time, best at a quiet hour: manage.py jobqueue doctor --budget 60."),
    )
