"""The Redis behind it all: what it is, what room it has, and what the doctor says of everything."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils.translation import gettext as _

from django_jobqueue.api import Server, ServerReport
from django_jobqueue.dashboard.charts import Meter, meter
from django_jobqueue.dashboard.routes import Page, Route
from django_jobqueue.dashboard.visit import Visit
from django_jobqueue.doctor import examine
from django_jobqueue.payload import printable
from django_jobqueue.templatetags.jobqueue import size

#: Seconds that the doctor has for long looks: on a page that is opened, and where asked for more.
GLANCE, THOROUGH = 0.05, 5.0

#: The share of its memory from which on it is coloured.
_TIGHT, _FULL = 0.8, 0.95


def _server(visit: Visit) -> HttpResponse:
    is_thorough = visit.query.get("look") == "thorough"
    facts = Server().facts()
    findings = examine(budget=THOROUGH if is_thorough else GLANCE)
    if not is_thorough:
        # It says so itself, and offers to look on.
        findings = [finding for finding in findings if finding.id != "cut-short"]
    return visit.show(
        "server.html",
        _("Redis"),
        facts=facts,
        address=printable(facts.address),
        memory=_memory(facts),
        findings=findings,
        faults=sum(finding.is_fault for finding in findings),
        is_thorough=is_thorough,
        thorough=visit.url("server", look="thorough"),
        keys=sum(facts.keys.values()),
    )


def _memory(facts: ServerReport) -> Meter | None:
    fullness = facts.fullness
    if fullness is None:
        return None
    css = "bad" if fullness >= _FULL else "warn" if fullness >= _TIGHT else "ok"
    return meter(
        facts.used_memory or 0, facts.max_memory or 0, title=_("Memory"), css=css, show=size
    )


routes: list[Route] = [
    Page("server/", "server", _server),
]
