"""The row of tabs above every page, in the order in which an operator wants them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.urls import ResolverMatch
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

#: Route and label. A page below one of them has its route's name and "_" before its own.
_TABS: tuple[tuple[str, Promise], ...] = (
    ("overview", _("Overview")),
    ("switches", _("Kill switches")),
    ("retries", _("Retries")),
    ("scheduled", _("Scheduled")),
    ("dead", _("Dead")),
    ("held", _("Held")),
    ("queues", _("Queues")),
    ("reconcilers", _("Reconcilers")),
    ("busy", _("Busy")),
    ("metrics", _("Metrics")),
    ("errors", _("Errors")),
    ("locks", _("Locks")),
    ("server", _("Redis")),
    ("bulk", _("Bulk actions")),
)


@dataclass(frozen=True, slots=True)
class Tab:
    """One of the tabs: where it leads, and whether this page stands under it."""

    label: Promise
    url: str
    is_current: bool


def tabs(match: ResolverMatch | None, url: Callable[[str], str]) -> list[Tab]:
    """Return the tabs of a page; ``url`` gives the address of a route."""
    here = (match.url_name or "").removeprefix("jobqueue_") if match is not None else ""
    return [
        Tab(label, url(name), here == name or here.startswith(f"{name}_")) for name, label in _TABS
    ]
