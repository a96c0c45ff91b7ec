"""What happens when somebody saves a flag: seen at once, recorded, and published on commit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from django.apps import apps as installed_apps
from django.core.signals import request_finished, request_started
from django.db.models.signals import post_delete, post_migrate, post_save

from django_jobqueue.models import KillSwitchEvent
from django_jobqueue.switches import events, flags, pending, publisher
from django_jobqueue.switches.state import OFF, State
from django_jobqueue.switches.switches import switches

_UID = "django_jobqueue.switches"


def connect(classes: Callable[[], Iterable[type]]) -> None:
    """
    Listen to the flags. Called when all apps are ready.

    ``classes`` returns the job classes that are known.
    """
    flags.know(classes)
    ours = installed_apps.get_app_config("django_jobqueue")
    post_migrate.connect(_on_migrate, sender=ours, dispatch_uid=_UID)
    if not flags.is_installed():
        return
    model = flags.flag_model()
    post_save.connect(_on_save, sender=model, dispatch_uid=_UID)
    post_delete.connect(_on_delete, sender=model, dispatch_uid=_UID)
    if installed_apps.is_installed("django.contrib.admin"):
        from django.contrib.admin.models import LogEntry  # not without its app

        post_save.connect(_on_log_entry, sender=LogEntry, dispatch_uid=_UID)
        for signal in (request_started, request_finished):
            signal.connect(_on_request, dispatch_uid=_UID)


def _on_migrate(*, using: str, apps: Any = installed_apps, **_: Any) -> None:
    flags.create_rows(apps, using)
    # A flush, as it ends many a test, empties the table and tells nobody.
    switches().forget()


def _on_save(*, instance: Any, using: str, raw: bool, **_: Any) -> None:
    _changed(instance, flags.state_of(instance), using, is_fixture=raw)


def _on_delete(*, instance: Any, using: str, **_: Any) -> None:
    _changed(instance, OFF, using)


def _changed(row: Any, state: State, alias: str, *, is_fixture: bool = False) -> None:
    if not flags.is_switch(row.name):
        return
    if not is_fixture:  # that may bring the events along
        event = events.record(row.name, state, admin=_here.announced.pop(row.pk, None))
        _here.written.pop(row.pk, None)
        if event is not None:
            _here.written[row.pk] = event
    # Last: outside a transaction it is published at once, and who publishes writes
    # down whatever nobody has.
    pending.record(row.name, state, alias, publisher.publish)


# Who it was in the admin ----------------------------------------------------------


class _Here(threading.local):
    """
    What this request has told of flags, by primary key.

    The admin logs a change after it was made, a deletion or an action before.
    """

    def __init__(self) -> None:
        self.written: dict[Any, KillSwitchEvent] = {}
        self.announced: dict[Any, str] = {}


_here = _Here()


def _on_log_entry(*, instance: Any, raw: bool, **_: Any) -> None:
    if raw or not _is_about_flags(instance):
        return
    key = flags.flag_model()._meta.pk.to_python(instance.object_id)
    event = _here.written.pop(key, None)
    if event is None:
        _here.announced[key] = instance.user.get_username()
    else:
        events.attribute(event, instance.user.get_username())


def _is_about_flags(entry: Any) -> bool:
    from django.contrib.contenttypes.models import ContentType  # not without its app

    if entry.content_type_id is None:
        return False
    # Not entry.content_type: that would be a query, and this one is cached.
    kind = ContentType.objects.db_manager(entry._state.db).get_for_id(entry.content_type_id)
    return kind.model_class() is flags.flag_model()


def _on_request(**_: Any) -> None:
    _here.written.clear()
    _here.announced.clear()
