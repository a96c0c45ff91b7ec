"""Push payloads: through the client middleware, checked and encoded, at once or on commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS
from django.utils.module_loading import import_string

from django_jobqueue.chain import nest
from django_jobqueue.client.arguments import check_arguments
from django_jobqueue.client.commit import hold_until_commit
from django_jobqueue.client.middleware import Push
from django_jobqueue.client.outlet import Entry
from django_jobqueue.client.results import Answer, Status
from django_jobqueue.client.send import send
from django_jobqueue.conf import get_settings
from django_jobqueue.encryption import encrypted, work_digest
from django_jobqueue.exceptions import ArgumentNotSerializable, PayloadTooLarge
from django_jobqueue.payload import Payload, check_queue_name
from django_jobqueue.signals import job_refused, tell
from django_jobqueue.signing import Signer, signer
from django_jobqueue.store.locks import Lock, lock_of
from django_jobqueue.switches.switches import switches


def push(
    jobs: Iterable[tuple[Payload, float | None]],
    *,
    on_commit: bool | str = True,
    healing: bool = False,
    lock_for: Callable[[Payload], Lock | None] = lock_of,
) -> list[Answer]:
    """
    Push payloads, each with its time (epoch seconds; None for now), in one round trip.

    Returns what became of each, aligned. With ``on_commit`` (True, or the alias
    of a database), and inside a transaction there, the jobs are checked now and
    written when it commits; whether one is a duplicate turns out only then. With
    ``healing`` rows whose job has died a short while ago are left alone.
    ``lock_for`` returns the lock that an accepted job takes, by default its own.

    Raises: InvalidQueueName, ArgumentNotSerializable, PayloadTooLarge, what a
    middleware raises, ImproperlyConfigured for what cannot be encrypted (then nothing is
    pushed); StoreUnavailable, EnqueueError.
    """
    chain = client_chain()
    limit = get_settings().max_payload
    ours = signer()
    answers: list[Answer] = []
    entries: list[Entry] = []
    places: list[int] = []
    with switches().pinned():
        for payload, at in jobs:
            accepted = chain(payload)
            if accepted is None:
                answers.append(_refused(payload))
                continue
            lock = None
            is_unique = "unique_for" in accepted.fields and accepted.unique_for is not None
            if is_unique:
                accepted = named(accepted)
            if is_unique or lock_for is not lock_of:
                lock = lock_for(accepted)
            if ours is not None or "encrypt" in accepted.fields:
                accepted = _sealed(accepted, ours)
            places.append(len(answers))
            entries.append(Entry(accepted, encode(accepted, limit), at, lock))
            answers.append(Answer(Status.PUSHED, accepted))
    if len(entries) < len(answers):
        _count_disabled(answers)
    if not entries:
        return answers
    alias = DEFAULT_DB_ALIAS if on_commit is True else on_commit
    if alias and hold_until_commit(entries, alias):
        return answers
    for index, owner in send(entries, healing=healing).items():
        status = Status.DUPLICATE if owner else Status.COOLING
        answers[places[index]] = Answer(status, entries[index].payload, owner or None)
    return answers


def named(payload: Payload) -> Payload:
    """
    Return a unique job with the digest of its lock, of its arguments unless it has one.

    Raises: ArgumentNotSerializable.
    """
    if payload.unique_digest is not None:
        return payload
    check_arguments(payload.args)
    return payload.replace(unique_digest=work_digest(payload))


def _sealed(payload: Payload, ours: Signer | None) -> Payload:
    """
    Return a job as it may travel: its arguments encrypted where they are to be, and signed.

    Raises: ArgumentNotSerializable, ImproperlyConfigured.
    """
    check_arguments(payload.args)
    payload = encrypted(payload)
    try:
        return payload if ours is None else ours.sign(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise _unwritable(error) from error


def _refused(payload: Payload) -> Answer:
    tell(job_refused, None, payload=payload)
    disabled = switches().refuses(payload)
    return Answer(Status.DISABLED if disabled else Status.REFUSED, payload)


def _count_disabled(answers: Sequence[Answer]) -> None:
    """Count what kill switches refused, in one round trip for all of a push."""
    counts = Counter(a.payload.job_class for a in answers if a.status is Status.DISABLED)
    if counts:
        switches().count_refused(counts)


def encode(payload: Payload, limit: int) -> bytes:
    """
    Return a payload's bytes, checked for its queue, strict JSON and size (``limit`` in bytes).

    Raises: InvalidQueueName, ArgumentNotSerializable, PayloadTooLarge.
    """
    # A worker would read a wrong name as ``default``: not what was asked for.
    check_queue_name(payload.fields.get("queue", "default"))
    check_arguments(payload.args)
    try:
        raw = payload.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _unwritable(error) from error
    if len(raw) > limit:
        raise PayloadTooLarge(payload.job_class, len(raw), limit)
    return raw


def _unwritable(error: BaseException) -> ArgumentNotSerializable:
    return ArgumentNotSerializable(
        "the payload", f"cannot be written as JSON ({error})", "see what a middleware put there"
    )


@cache
def client_chain() -> Push:
    """Return the client middleware of the settings as one call, the first outermost."""
    layers: Sequence[Callable[[Push], Push]] = [
        import_string(path) for path in get_settings().client_middleware
    ]
    return nest(layers, _accept)


def _accept(payload: Payload) -> Payload | None:
    return payload


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting == "JOBQUEUE":
        client_chain.cache_clear()


setting_changed.connect(_on_setting_changed, dispatch_uid="django_jobqueue.client")
