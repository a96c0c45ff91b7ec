"""What stands in the database, for an operator to look at; only a schedule can be changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_jobqueue.models import KillSwitchEvent, ReconcilerRun, ReconcilerState, Schedule

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


@admin.register(KillSwitchEvent)
class KillSwitchEventAdmin(LookOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Who threw which switch."""

    list_display = ("at", "flag", "old_state", "new_state", "actor", "source")
    list_filter = ("source",)
    search_fields = ("flag", "actor")


@admin.register(ReconcilerState)
class ReconcilerStateAdmin(LookOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """How each reconciler stands."""

    list_display = ("name", "status", "finished_at", "succeeded_at", "found", "pushed", "skips")
    list_filter = ("status",)
    search_fields = ("name",)


@admin.register(ReconcilerRun)
class ReconcilerRunAdmin(LookOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """What reconcilers found."""

    list_display = (
        "name", "started_at", "finished_at", "status", "found", "pushed", "duplicates", "cooling",
        "errors",
    )  # fmt: skip
    list_filter = ("status", "name")


@admin.register(Schedule)
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
