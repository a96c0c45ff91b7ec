"""Databases and their backups in the admin."""

from __future__ import annotations

from django.contrib import admin

from testproject.backups.models import Backup, Database

# The ignores: the stubs make ModelAdmin generic, Django's own cannot be subscripted.


@admin.register(Database)
class DatabaseAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Databases by state."""

    list_display = ("name", "state", "jid", "created_at", "started_at", "finished_at")
    list_filter = ("state",)
    search_fields = ("name", "path", "jid")
    readonly_fields = ("jid", "created_at", "started_at", "finished_at")


@admin.register(Backup)
class BackupAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Archives with what is known of them."""

    list_display = ("database", "size", "rows", "integrity", "finished_at", "jid")
    list_select_related = ("database",)
    search_fields = ("database__name", "jid", "sha256")
    readonly_fields = ("path", "size", "sha256", "rows", "integrity", "jid", "finished_at")
