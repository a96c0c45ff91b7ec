"""All addresses of the dashboard, put under any admin site."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.urls import URLPattern

from django_jobqueue.dashboard import feeds
from django_jobqueue.dashboard.pages import (
    bulk,
    busy,
    entries,
    errors,
    job,
    locks,
    metrics,
    overview,
    queues,
    reconcilers,
    server,
    switches,
)
from django_jobqueue.dashboard.routes import Route

#: In the order of their tabs.
_MODULES = (
    overview, switches, entries, job, queues, reconcilers, busy, metrics, errors, locks, server,
    bulk, feeds,
)  # fmt: skip


def all_routes() -> list[Route]:
    """Return every address that there is."""
    return [route for module in _MODULES for route in module.routes]


def patterns(site: AdminSite) -> list[URLPattern]:
    """Return the URL patterns of all of them, for a site."""
    return [route.pattern(site) for route in all_routes()]
