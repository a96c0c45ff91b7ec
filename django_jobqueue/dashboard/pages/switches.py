"""The kill switches: what is stopped, by whom, at what price, and how it is let go again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jobqueue.connection import store
from django_jobqueue.dashboard.charts import BarChart, bar_chart
from django_jobqueue.dashboard.routes import Act, BrokeOff, Done, Page, Route
from django_jobqueue.dashboard.visit import Refused, Visit
from django_jobqueue.exceptions import StoreError, UnknownJob
from django_jobqueue.job.base import Job
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.registry import registry
from django_jobqueue.payload import printable
from django_jobqueue.permissions import Permission
from django_jobqueue.reports import switches as reports
from django_jobqueue.reports.stakes import Stakes, stakes
from django_jobqueue.reports.switches import MinuteFacts, SwitchFacts
from django_jobqueue.scheduling.releaser import release_now
from django_jobqueue.store.removal import Place
from django_jobqueue.switches import flags, throwing
from django_jobqueue.switches.events import Source
from django_jobqueue.switches.naming import MAX_LENGTH, flag_names
from django_jobqueue.switches.state import OFF, ON, State
from django_jobqueue.switches.switches import switches

#: Switches of a page, and changes that are shown below them.
PAGE = 100
LATEST = 10

#: Held jobs that one click releases or deletes while the browser waits. More is a bulk action.
AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Row:
    """A switch as it is shown: ``job`` is the class it stops, or how many; ``css`` of its badge."""

    facts: SwitchFacts
    flag: str
    job: str
    state: str
    css: str

    @property
    def held_class(self) -> str:
        """The class whose held jobs can be looked at; empty where there is not one."""
        return self.facts.names[0] if len(self.facts.names) == 1 and self.facts.held else ""


@dataclass(frozen=True, slots=True)
class HeldJobs:
    """The held jobs of one class of a switch; ``word`` has to be typed to delete them."""

    name: str
    word: str
    count: int

    @property
    def place(self) -> str:
        """How a bulk action names where they are."""
        return f"held:{self.name}"

    @property
    def is_many(self) -> bool:
        """Whether there are too many to be moved while a browser waits."""
        return self.count > AT_ONCE


# Looking ---------------------------------------------------------------------------


def _list(visit: Visit) -> HttpResponse:
    found = reports.switches()
    sought = visit.query.get("q", "").strip()
    rows = [_row(facts) for facts in sorted(found.switches, key=_by_urgency)]
    shown = [row for row in rows if _is_sought(row, sought)]
    start = _start(visit.query.get("start", ""), len(shown))
    more = start + PAGE < len(shown)
    return visit.show(
        "switches.html",
        _("Kill switches"),
        found=found,
        rows=shown[start : start + PAGE],
        count=len(shown),
        all=len(rows),
        thrown=sum(not row.facts.is_off for row in rows),
        q=sought,
        before=visit.url("switches", q=sought, start=max(0, start - PAGE)) if start else "",
        after=visit.url("switches", q=sought, start=start + PAGE) if more else "",
        latest=reports.history(count=LATEST) if found.installed else (),
    )


def _one(visit: Visit) -> HttpResponse:
    flag = visit.query.get("flag", "")
    found = reports.switch(flag)
    if found is None:
        told = _("There is no kill switch “%s”.") % printable(flag)
        return visit.show("error.html", _("Not found"), status=404, told=told)
    return visit.show(
        "switch.html",
        printable(flag),
        row=_row(found.facts),
        found=found,
        has=set(found.facts.notes),
        stakes=_stakes(flag),
        held=[HeldJobs(cls.name, _word(cls.name), cls.held) for cls in found.classes if cls.held],
        at_once=AT_ONCE,
        chart=_chart(found.minutes),
    )


def _by_urgency(facts: SwitchFacts) -> tuple[bool, float, str]:
    # What is thrown first. Not by counts: rows that move under a mouse are thrown by mistake.
    return facts.is_off, -facts.percent, facts.flag


def _is_sought(row: Row, sought: str) -> bool:
    words = " ".join((row.flag, *row.facts.jobs, *row.facts.names)).lower()
    return all(word in words for word in sought.lower().split())


def _start(text: str, count: int) -> int:
    """Return where the page begins that a query asks for: a multiple of a page, and there."""
    start = int(text[:9]) if text.isascii() and text.isdecimal() else 0
    return min(start, max(0, count - 1)) // PAGE * PAGE


def _row(facts: SwitchFacts) -> Row:
    jobs = facts.jobs
    job = jobs[0].rpartition(".")[2] if len(jobs) == 1 else ""
    if len(jobs) > 1:
        job = ngettext("%(n)d job class", "%(n)d job classes", len(jobs)) % {"n": len(jobs)}
    if facts.is_off:
        return Row(facts, printable(facts.flag), job, _("off"), "")
    if facts.is_on:
        return Row(facts, printable(facts.flag), job, _("on"), "jq-badge-bad")
    state = _("on for %(percent)s") % {"percent": State.decode(facts.state)}
    return Row(facts, printable(facts.flag), job, state, "jq-badge-warn")


def _stakes(flag: str) -> list[Stakes] | None:
    """Return what the switch would stop; None where Redis does not tell: it works all the same."""
    try:
        return [stakes(cls) for cls in reports.classes_of(flag) or ()]
    except StoreError:
        return None


def _chart(minutes: Sequence[MinuteFacts]) -> BarChart | None:
    if not any(each.refused or each.held or each.dropped for each in minutes):
        return None
    return bar_chart(
        [each.refused + each.held + each.dropped for each in minutes],
        [f"{each.at:%H:%M}" for each in minutes],
        title=_("Stopped a minute in the last hour: refused, held and dropped (UTC)"),
        css="bad",
    )


# Throwing --------------------------------------------------------------------------


def _disable(visit: Visit) -> Done:
    flag, classes = _known(visit)
    return _throw(visit, [flag], ON, classes)


def _enable(visit: Visit) -> Done:
    flag, classes = _known(visit)
    names = [flag]
    for cls in classes:
        # A flag under a former name stops the job as well: whoever lets it go means all.
        if flag_names(cls)[0] == flag:
            names += throwing.standing_in_the_way(flag_names(cls))[1:]
    return _throw(visit, list(dict.fromkeys(names)), OFF, classes)


def _percent(visit: Visit) -> Done:
    flag, classes = _known(visit)
    text = visit.form.get("percent", "").strip().removesuffix("%").replace(",", ".")
    try:
        percent = float(text)
    except ValueError:
        percent = math.nan
    if not 0 <= percent <= 100:
        raise Refused(
            _("“%s” is not a percentage: give a number from 0 to 100.") % printable(text[:50])
        )
    return _throw(visit, [flag], State.partial(percent), classes)


def _known(visit: Visit) -> tuple[str, tuple[type[Job], ...]]:
    """Return the flag of a form and its classes. Raises: Refused for one that there is not."""
    flag = visit.form.get("flag", "")
    classes = reports.classes_of(flag)
    if classes is None:
        raise Refused(_("There is no kill switch “%s”.") % printable(flag[:MAX_LENGTH]))
    if len(flag) > MAX_LENGTH:
        raise Refused(
            _("waffle takes %(most)d characters, and the name of this flag has %(count)d.")
            % {"most": MAX_LENGTH, "count": len(flag)}
        )
    return flag, classes


def _throw(visit: Visit, names: list[str], state: State, classes: Sequence[type[Job]]) -> Done:
    throwing.throw(names, state, actor=visit.actor, source=Source.ADMIN)
    jobs = ", ".join(cls.__qualname__ for cls in classes) or _("No class that is known here")
    told, level = _told(state, ", ".join(names), jobs), messages.SUCCESS
    rest = _still_stopping(names, classes) if state.is_off else []
    if rest:
        level = messages.WARNING
        told += " " + _("It is still stopped by %s.") % ", ".join(rest)
    return Done(told, ", ".join(map(printable, names)), count=len(names), level=level)


def _told(state: State, flag: str, jobs: str) -> str:
    facts = {"flag": printable(flag), "jobs": jobs, "state": state}
    if state.is_on:
        return (
            _("The kill switch %(flag)s is on: %(jobs)s is stopped everywhere within a second.")
            % facts
        )
    if state.is_off:
        return (
            _("The kill switch %(flag)s is off: %(jobs)s goes again, and what is held is released.")
            % facts
        )
    return _("The kill switch %(flag)s is on for %(state)s of the jobs: %(jobs)s.") % facts


def _still_stopping(names: Sequence[str], classes: Sequence[type[Job]]) -> list[str]:
    """Return the other flags that stop these classes, for somebody who let them go."""
    now = flags.read_states()
    others = dict.fromkeys(flag for cls in classes for flag in flag_names(cls))
    return [flag for flag in others if flag not in names and not now.get(flag, OFF).is_off]


# Held jobs -------------------------------------------------------------------------


def _release(visit: Visit) -> Done:
    cls = _class(visit)
    name, limit = wire_name(cls), _limit(visit.form.get("limit", ""))
    switches().refresh(force=True)
    if switches().is_on(name):
        raise Refused(
            _("The kill switch of %s is on: its jobs would be held again. Turn it off first.")
            % cls.__qualname__
        )
    count = release_now(store(), name, limit)
    if not count:
        raise Refused(_("No job of %s was released: none is held that may go.") % cls.__qualname__)
    told = ngettext(
        "%(n)d job of %(job)s was released.", "%(n)d jobs of %(job)s were released.", count
    )
    return Done(told % {"n": count, "job": cls.__qualname__}, name, count)


def _purge(visit: Visit) -> Done:
    cls = _class(visit)
    name = wire_name(cls)
    visit.require_typed(_word(name))
    place = Place.held(store().keys, name)
    if store().removal.size(place) > AT_ONCE:
        raise Refused(_("More than %d jobs are held: delete them by a bulk action.") % AT_ONCE)
    removed = 0

    def tell(count: int, left: int) -> None:
        nonlocal removed
        removed = count

    try:
        removed = store().removal.clear(place, tell)
    except StoreError as error:
        raise BrokeOff(_purged(cls, removed), error) from error
    return _purged(cls, removed)


def _purged(cls: type[Job], count: int) -> Done:
    told = ngettext(
        "%(n)d held job of %(job)s was deleted.", "%(n)d held jobs of %(job)s were deleted.", count
    )
    told %= {"n": count, "job": cls.__qualname__}
    return Done(told, wire_name(cls), count, removes=True)


def _class(visit: Visit) -> type[Job]:
    """Return the class that a form names. Raises: Refused for one that is not known here."""
    name = visit.form.get("job", "")
    try:
        return registry().get(name)
    except UnknownJob as error:
        raise Refused(str(error)) from error


def _limit(text: str) -> int:
    """Return how many jobs to release. Raises: Refused."""
    count = int(text[:9]) if text.isascii() and text.isdecimal() else 0
    if not 1 <= count <= AT_ONCE:
        raise Refused(_("Give a number of jobs from 1 to %d.") % AT_ONCE)
    return count


def _word(name: str) -> str:
    """Return what has to be typed before the held jobs of a class are deleted: its short name."""
    return registry().get(name).__name__


routes: list[Route] = [
    Page("switches/", "switches", _list),
    Page("switches/one/", "switches_one", _one),
    Act("switches/disable/", "switches_disable", _disable, Permission.TOGGLE_SWITCH),
    Act("switches/enable/", "switches_enable", _enable, Permission.TOGGLE_SWITCH),
    Act("switches/percent/", "switches_percent", _percent, Permission.TOGGLE_SWITCH),
    Act("switches/release/", "switches_release", _release, Permission.RETRY_JOB),
    Act("switches/purge/", "switches_purge", _purge, Permission.CLEAR_QUEUE),
]
