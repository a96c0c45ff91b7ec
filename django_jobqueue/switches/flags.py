"""The only room that knows waffle: its flags as kill switches, read as rows and never asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

from django.apps import apps as installed_apps
from django.conf import settings
from django.db import connections, models, router, transaction

from django_jobqueue.switches.naming import MAX_LENGTH, PREFIX, flag_names
from django_jobqueue.switches.seldom import Seldom
from django_jobqueue.switches.state import OFF, ON, State

logger = logging.getLogger("django_jobqueue.switches")

_failures = Seldom(logger)


def _no_classes() -> Iterable[type]:
    return ()


#: The job classes that are known. The registry is above us, so we are told whom to ask.
_classes: Callable[[], Iterable[type]] = _no_classes


def know(classes: Callable[[], Iterable[type]]) -> None:
    """Learn how to find the job classes."""
    global _classes
    _classes = classes


def is_installed() -> bool:
    """Return whether the project has waffle among its apps. Without it nothing has a switch."""
    return installed_apps.is_installed("waffle")


def flag_model() -> type[models.Model]:
    """
    Return the model of the flags, which a project may have swapped.

    Raises: ImproperlyConfigured.
    """
    import waffle  # here: where it is not installed, all but the switches works

    return waffle.get_waffle_flag_model()


def database() -> str:
    """Return the alias of the database that flags are written to: a replica may be behind."""
    return router.db_for_write(flag_model())


def default_state() -> bool:
    """Return ``WAFFLE_FLAG_DEFAULT``, which no kill switch obeys."""
    return bool(getattr(settings, "WAFFLE_FLAG_DEFAULT", False))


def creates_missing() -> bool:
    """Return ``WAFFLE_CREATE_MISSING_FLAGS``, which no kill switch obeys."""
    return bool(getattr(settings, "WAFFLE_CREATE_MISSING_FLAGS", False))


def cache_backend() -> str:
    """Return the dotted path of the cache in which waffle keeps flags; empty for an unknown one."""
    name = getattr(settings, "WAFFLE_CACHE_NAME", "default")
    return str(settings.CACHES.get(name, {}).get("BACKEND", ""))


# Reading ------------------------------------------------------------------------


def is_switch(flag: str) -> bool:
    """Return whether a flag is a kill switch, by its name."""
    return flag.startswith(PREFIX)


def rows() -> Iterator[Any]:
    """Yield the rows of all kill switches, from the database that they are written to."""
    # SQLite's LIKE does not tell upper from lower case.
    found = _rows().filter(name__startswith=PREFIX).order_by("name")
    return (row for row in found if is_switch(row.name))


def read_states() -> dict[str, State]:
    """Return the state of every kill switch that has a row. One query."""
    return {row.name: state_of(row) for row in rows()}


def state_of(row: Any) -> State:
    """
    Return what a row says about jobs.

    ``everyone`` decides; where it is unknown, ``percent``. All other fields are
    about people and requests. A model of the project's own may have a method
    ``is_active_for_job(job)``: it is given the job class, and what it returns
    counts unless it is None.
    """
    ask = getattr(row, "is_active_for_job", None)
    cls = _class_of(row.name) if ask is not None else None
    if ask is not None and cls is not None:
        try:
            answer = ask(cls)
        except Exception as error:  # whatever the project's method does
            _failures.warn(
                "is_active_for_job() of the flag %s failed, its row decides: %r", row.name, error
            )
            answer = None
        if answer is not None:
            return ON if answer else OFF
    if row.everyone is not None:
        return ON if row.everyone else OFF
    return State.partial(float(row.percent or 0))


def says_nothing(row: Any) -> bool:
    """Return whether a row is neither on nor off nor on for a share: an operator may be misled."""
    return row.everyone is None and not row.percent


def _rows() -> models.QuerySet[Any]:
    return flag_model()._default_manager.using(database())


def _class_of(flag: str) -> type | None:
    """Return the job class of a flag; one whose own name it is before one that had it once."""
    ranked = [(names.index(flag), cls) for cls in _classes() if flag in (names := flag_names(cls))]
    return min(ranked, key=lambda item: item[0])[1] if ranked else None


# Writing ------------------------------------------------------------------------


def set_state(flag: str, state: State) -> None:
    """Write one switch, in one transaction. The row is made if it is missing."""
    alias = database()
    everyone = state.is_on if state.is_on or state.is_off else None
    percent = Decimal(str(state.percent)) if everyone is None else None
    with transaction.atomic(using=alias):
        row, _ = _rows().select_for_update().get_or_create(name=flag, defaults={"everyone": False})
        row.everyone, row.percent = everyone, percent
        row.save(using=alias)


def create_rows(apps: Any, alias: str) -> None:
    """
    Make a row that is off for every known job class that has none, so that operators see it.

    ``apps`` are the models as the migrations have left them. Rows that are
    there stay as they are.
    """
    model = _migrated_model(apps, alias)
    if model is None:
        return
    wanted = {}
    for cls in _classes():
        name = flag_names(cls)[0]
        if len(name) <= MAX_LENGTH:  # a system check tells of longer ones
            wanted[name] = f"Stops {cls.__module__}.{cls.__qualname__}: set Everyone to Yes."
    manager = model._default_manager.using(alias)
    present = set(manager.filter(name__startswith=PREFIX).values_list("name", flat=True))
    missing = [
        model(name=name, everyone=False, note=note)
        for name, note in wanted.items()
        if name not in present
    ]
    # Another process may be migrating as well.
    manager.bulk_create(missing, ignore_conflicts=True)


def _migrated_model(apps: Any, alias: str) -> Any:
    """Return the model of the flags if its table is in this database by now, else None."""
    if not is_installed():
        return None
    label = flag_model()._meta.label
    if not router.allow_migrate_model(alias, flag_model()):
        return None
    try:
        model = apps.get_model(label)
    except LookupError:
        return None
    tables = connections[alias].introspection.table_names()
    return model if model._meta.db_table in tables else None
