"""What is done to the jobs that somebody ticked, in whatever place the page showed them."""

from __future__ import annotations

from functools import partial

from django.contrib import messages
from django.utils.translation import gettext as _

from django_jobqueue.bulk import verbs_of
from django_jobqueue.dashboard import lookup
from django_jobqueue.dashboard.routes import Act, BrokeOff, Done, Route
from django_jobqueue.dashboard.verbs import DEEDS, Deed, carry_out
from django_jobqueue.dashboard.visit import Refused, Visit
from django_jobqueue.exceptions import SearchUnfinished
from django_jobqueue.payload import printable


def _do(visit: Visit, *, deed: Deed) -> Done:
    """
    Do it to what the form names.

    ``place`` is where they are, ``pick`` their keys, or ``only`` the one whose button was
    pressed, whatever is ticked beside it. ``start`` and ``order`` are those of the page.
    """
    place = visit.form.get("place", "")
    if deed.verb not in verbs_of(place):
        raise Refused(_("Nothing was done: “%(verb)s” is nothing for what stands in %(place)s.") % {
            "verb": deed.label, "place": printable(place),
        })  # fmt: skip
    keys = [visit.form["only"]] if "only" in visit.form else visit.pick()
    start = visit.form.get("start", "")
    try:
        found = lookup.in_place(
            place,
            keys,
            start=int(start) if start.isdecimal() and len(start) < 16 else 0,
            newest_first=visit.form.get("order") == "newest",
        )
    except SearchUnfinished as unfinished:
        raise Refused(
            _("Nothing was done: the job is not among the %(count)d that were looked at in time.")
            % {"count": unfinished.looked_at}
        ) from None
    outcome = carry_out(deed, found.values())
    if outcome.error is None:
        outcome.missed(len(keys) - len(found))
        if not outcome.done:
            raise Refused(_("Nothing was done. %(why)s") % {"why": outcome.sentence(deed)})
    # Where it broke off nobody knows of the one that was at it: all that were meant are told.
    jids = outcome.jids if outcome.error is None else [entry.jid for entry in found.values()]
    done = Done(
        outcome.sentence(deed),
        f"{place}: {', '.join(jids)}",
        outcome.done,
        level=messages.WARNING if outcome.stayed else messages.SUCCESS,
        removes=deed.removes,
    )
    if outcome.error is not None:
        raise BrokeOff(done, outcome.error)
    return done


routes: list[Route] = [
    Act(f"jobs/{deed.verb.value}/", f"job_{deed.verb.value}", partial(_do, deed=deed), deed.needs)
    for deed in DEEDS.values()
]
