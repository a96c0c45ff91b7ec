"""
What an admin site has of ours: the dashboard, and what stands in the database to look at.

The default site has it by itself, also where it is a class of the project's own. Other
sites are given it by ``register(site)``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import URLPattern, path
from django.utils.translation import gettext_lazy as _

from django_jobqueue.models import (
    Dashboard,
    KillSwitchEvent,
    ReconcilerRun,
    ReconcilerState,
    Schedule,
)
from django_jobqueue.permissions import Permission

# The ignores: the stubs make ModelAdmin generic, Django's own cannot be subscripted.


class LookOnly:
    """Nothing is added, changed or deleted by hand: it is a record."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        """Nobody adds."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes."""
        return False


class DashboardAdmin(LookOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """The row in the index that leads to the dashboard, and the place of its pages."""

    def get_urls(self) -> list[URLPattern]:
        """Return the dashboard's own pages: it has no list and no form."""
        # Here: a site that never shows it never loads it.
        from django_jobqueue.dashboard.board import patterns

        pages = patterns(self.admin_site)
        # The name that the index links to; the first is the overview.
        front = path("", pages[0].callback, name="django_jobqueue_dashboard_changelist")
        return [*pages, front]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user is let in."""
        return bool(request.user.has_perm(Permission.VIEW_DASHBOARD.full_name))

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether the index shows it."""
        return self.has_view_permission(request)


class KillSwitchEventAdmin(LookOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Who threw which switch."""

    list_display = ("at", "flag", "old_state", "new_state", "actor", "source")
    list_filter = ("source",)
    search_fields = ("flag", "actor")


class ReconcilerStateAdmin(LookOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """How each reconciler stands."""

    list_display = ("name", "status", "finished_at", "succeeded_at", "found", "pushed", "skips")
    list_filter = ("status",)
    search_fields = ("name",)


class ReconcilerRunAdmin(LookOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """What reconcilers found."""

    list_display = (
        "name", "started_at", "finished_at", "status", "found", "pushed", "duplicates", "cooling",
        "errors",
    )  # fmt: skip
    list_filter = ("status", "name")


class ScheduleAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """When each timetable fired last. It can be paused here."""

    list_display = ("name", "last_slot", "paused")
    list_editable = ("paused",)
    list_filter = ("paused",)
    search_fields = ("name",)
    fields = ("name", "last_slot", "paused")
    readonly_fields = ("name", "last_slot")

    @admin.display(description=_("last slot"), ordering="last_tick")
    def last_slot(self, row: Schedule) -> datetime | None:
        """Return when the slot was that was claimed last."""
        return datetime.fromtimestamp(row.last_tick, UTC) if row.last_tick else None

    def has_add_permission(self, request: HttpRequest) -> bool:
        """The ticker makes the rows."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Without its row a timetable would begin anew."""
        return False


_ADMINS: dict[type[Any], type[Any]] = {
    Dashboard: DashboardAdmin,
    KillSwitchEvent: KillSwitchEventAdmin,
    ReconcilerState: ReconcilerStateAdmin,
    ReconcilerRun: ReconcilerRunAdmin,
    Schedule: ScheduleAdmin,
}


def register(site: admin.AdminSite) -> None:
    """Give an admin site the dashboard and the records: for sites beside the default one."""
    for model, model_admin in _ADMINS.items():
        site.register(model, model_admin)


register(admin.site)
