"""Where jobs wait, as an operator types it: ``retry``, ``dead``, ``queue:low``."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.management.base import CommandError

from django_jobqueue import bulk
from django_jobqueue.api import HeldSet, Queue
from django_jobqueue.management import flags
from django_jobqueue.reports.job import places

#: The names of the sets, also those of the subcommands that list them.
_SETS = {
    "schedule": "schedule", "scheduled": "schedule", "retry": "retry", "retries": "retry",
    "dead": "dead",
}  # fmt: skip


def read_place(word: str) -> str | None:
    """
    Return the place that a word means, as ``bulk.place_of`` takes it; None for no place.

    Raises: CommandError for a held class that is none, and an empty name.
    """
    if word in _SETS:
        return _SETS[word]
    kind, colon, rest = word.partition(":")
    if not colon or kind not in ("queue", "held"):
        return None
    if not rest:
        raise CommandError(f"{word!r} lacks a name: give {kind}:NAME.")
    return word if kind == "queue" else f"held:{held_class(rest)}"


def read_words(words: Sequence[str], verb: bulk.Verb) -> tuple[str | None, list[str]]:
    """
    Return the place and the ids that a command line names.

    Only the first word can be a place. Raises: CommandError for a place that the verb does
    not fit, and for a word that is the name of a queue.
    """
    place = read_place(words[0]) if words else None
    if place is None:
        for word in words:
            if word in {queue.name for queue in Queue.all()}:
                raise CommandError(f"{word!r} is a queue: say queue:{word}, or give ids of jobs.")
        return None, list(words)
    check_fits(verb, place)
    return place, list(words[1:])


def check_fits(verb: bulk.Verb, place: str) -> None:
    """Refuse a verb that is of no use there. Raises: CommandError."""
    fitting = bulk.verbs_of(place)
    if verb not in fitting:
        raise CommandError(
            f"Jobs in {place!r} cannot be told to {verb.value}: there is "
            f"{', '.join(each.value for each in fitting)}."
        )


def places_for(verb: bulk.Verb) -> list[str]:
    """Return the places with jobs that a verb can be used on."""
    return [place for place in places() if verb in bulk.verbs_of(place)]


def held_class(name: str) -> str:
    """Return the wire name of a class whose held jobs are meant; it may be unknown here."""
    held = {each.job_class for each in HeldSet.all()}
    return name if name in held else flags.class_named(name)


def queue_named(word: str) -> str:
    """Return the name of a queue, with or without ``queue:`` before it. Raises: CommandError."""
    found = word.removeprefix("queue:")
    if not found:
        raise CommandError(f"{word!r} lacks a name: give the name of a queue.")
    return found
