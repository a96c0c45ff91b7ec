"""``manage.py jobqueue redis``: the server that holds the jobs."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import BaseCommand

from django_jobqueue.management import flags, tables
from django_jobqueue.reports.server import ServerFacts, server

name = "redis"
help = (
    "Show the Redis that holds the jobs: its version, memory, what it writes to disk, its "
    "clients. '?' is what it keeps to itself. 'doctor' tells whether that is as it should be."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    flags.add_json(parser)


def handle(command: BaseCommand, options: Mapping[str, Any]) -> int:
    """Do it; return the exit code."""
    found = server()
    lines = tables.facts(_pairs(found), limit=tables.columns_of(command))
    flags.show(command, options, found.as_dict(), lines)
    return 0


def _pairs(found: ServerFacts) -> Iterator[tuple[str, object]]:
    told = found.told
    yield "address", told.address
    yield "version", f"{told.product} {told.version or '?'}{', too old' * told.is_too_old}"
    yield "mode", ", ".join(filter(None, (told.mode, told.role))) or "?"
    yield "replicas", _known(told.replicas)
    yield "uptime", tables.span(told.uptime)
    yield "round trip", tables.span(found.rtt)
    yield "memory", f"{_size(told.used_memory)} of {_limit(told.max_memory)}"
    yield "memory, peak", _size(told.peak_memory)
    yield "when full", f"{told.eviction or '?'}{', throws jobs away' * told.evicts}"
    yield "evicted", _known(told.evicted)
    yield "append only file", _written(told.appends, told.append_ok)
    yield "snapshots", _written(told.snapshots, told.snapshot_ok)
    yield "last snapshot", _age(told.snapshot_age, told.unsaved)
    yield "clients", f"{_known(told.clients)} of {_known(told.max_clients)}"
    yield "clients that wait", _known(told.blocked_clients)
    yield "commands a second", _known(told.commands_per_second)
    for name, count in told.keys.items():
        yield f"keys in {name}", count


def _known(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _size(value: int | None) -> str:
    return "?" if value is None else tables.size(value)


def _limit(value: int | None) -> str:
    return "what the machine has" if value == 0 else _size(value)


def _written(is_on: bool | None, went_well: bool | None) -> str:
    if not is_on:
        return "?" if is_on is None else "off"
    if went_well is None:
        return "on"
    return "on, the last one went well" if went_well else "on, THE LAST ONE FAILED"


def _age(seconds: float | None, unsaved: int | None) -> str:
    if seconds is None:
        return "?"
    return f"{tables.span(seconds)} ago, {_known(unsaved)} changes since"
