"""
What the pages show, as JSON for programs, and as figures for Prometheus.

By a token, or by the permission ``view_dashboard``; never with the arguments of jobs.
Who may not is told so, and not sent to a page where people log in.
"""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.admin import AdminSite
from django.db import Error as DatabaseFault
from django.http import HttpRequest, HttpResponse, JsonResponse

from django_jobqueue import doctor
from django_jobqueue.dashboard.routes import Feed, Route
from django_jobqueue.exceptions import InvalidQuery, JobQueueError
from django_jobqueue.monitoring.access import Access, access
from django_jobqueue.monitoring.exposition import CONTENT_TYPE, exposition
from django_jobqueue.monitoring.figures import read_figures
from django_jobqueue.reports.metrics import metrics
from django_jobqueue.reports.overview import overview
from django_jobqueue.reports.plain import Plain
from django_jobqueue.reports.processes import processes, work
from django_jobqueue.reports.queues import queues
from django_jobqueue.reports.reconcilers import reconcilers
from django_jobqueue.reports.schedules import schedules
from django_jobqueue.reports.server import server
from django_jobqueue.reports.switches import switches

Answer = Callable[[HttpRequest], HttpResponse]

_REFUSALS = {
    Access.UNKNOWN: "Send the header 'Authorization: Bearer' with JOBQUEUE['METRICS_TOKEN'], or "
    "log in to the admin.",
    Access.FORBIDDEN: "You need the permission 'django_jobqueue.view_dashboard'.",
}


# What is answered -----------------------------------------------------------------


def _report(read: Callable[[], Plain]) -> Answer:
    return lambda request: JsonResponse(read().as_dict())


def _metrics(request: HttpRequest) -> HttpResponse:
    """Answer ``?job=NAME&minutes=N`` or ``&hours=N``."""
    found = metrics(
        request.GET.get("job") or None,
        minutes=_number(request, "minutes"),
        hours=_number(request, "hours"),
    )
    return JsonResponse(found.as_dict())


def _doctor(request: HttpRequest) -> HttpResponse:
    """Answer 503 where something is at fault, so that it can be asked as a health check."""
    findings = doctor.examine()
    is_well = not any(finding.is_fault for finding in findings)
    told = {"ok": is_well, "findings": [finding.as_dict() for finding in findings]}
    return JsonResponse(told, status=200 if is_well else 503)


def _prometheus(request: HttpRequest) -> HttpResponse:
    return HttpResponse(exposition(read_figures()), content_type=CONTENT_TYPE)


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise InvalidQuery(name, text, "give a whole number") from None


# Who is answered ------------------------------------------------------------------


def _feed(path: str, name: str, answer: Answer) -> Feed:
    def view(request: HttpRequest, site: AdminSite) -> HttpResponse:
        verdict = access(request, site.has_permission)
        if verdict is not Access.GRANTED:
            return _refused(verdict)
        try:
            return answer(request)
        except InvalidQuery as error:
            return _error(str(error), 400)
        except (JobQueueError, DatabaseFault) as error:
            return _error(str(error), 503)

    return Feed(f"api/{path}", f"api_{name}", view)


def _refused(verdict: Access) -> HttpResponse:
    response = _error(_REFUSALS[verdict], verdict.value)
    if verdict is Access.UNKNOWN:
        response.headers["WWW-Authenticate"] = 'Bearer realm="django-jobqueue"'
    return response


def _error(told: str, status: int) -> HttpResponse:
    return JsonResponse({"error": told}, status=status)


_READ: dict[str, Callable[[], Plain]] = {
    "overview": overview,
    "queues": queues,
    "processes": processes,
    "work": work,
    "switches": switches,
    "reconcilers": reconcilers,
    "schedules": schedules,
    "server": server,
}

routes: list[Route] = [
    *(_feed(f"{name}.json", name, _report(read)) for name, read in _READ.items()),
    _feed("metrics.json", "metrics", _metrics),
    _feed("doctor.json", "doctor", _doctor),
    _feed("metrics", "prometheus", _prometheus),
]
