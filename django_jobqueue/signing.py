"""
Signatures of jobs: who can write to Redis, and knows no key, cannot make a job or change one.

Signed is what a job does: its class, arguments, jid and queue, the context that middleware
let travel, how its arguments are encrypted, and whether it passes the kill switches by. What a
job goes through (times, counts, errors) changes on its way and is not. Nothing here keeps
anybody from removing a job, or from copying one to run it again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from functools import lru_cache

from django_jobqueue.conf import get_settings
from django_jobqueue.exceptions import BadSignature
from django_jobqueue.payload import Payload, dump_json
from django_jobqueue.secret_keys import derive, key_id
from django_jobqueue.unique import canonical

#: The field of a payload that holds its signature: the name of the key, a dot, the hex digits.
FIELD = "sig"

_PURPOSE = "signature 1"


class Signer:
    """
    Signs with the first of some secrets, and knows the signatures of all.

    With ``required`` a job without a signature is as bad as one with a wrong one.
    """

    def __init__(self, secrets: Sequence[bytes], *, required: bool = True) -> None:
        self._keys = {key_id(secret, _PURPOSE): derive(secret, _PURPOSE) for secret in secrets}
        self._first = next(iter(self._keys))
        self._required = required

    def sign(self, payload: Payload) -> Payload:
        """Return the job signed. Raises: TypeError or ValueError for what is not JSON."""
        told = payload
        if (context := payload.fields.get("cattr")) is not None:
            # As it will be read: middleware may have put there what JSON has not quite.
            told = payload.replace(cattr=json.loads(dump_json(context)))
        mac = _mac(self._keys[self._first], _signed(told, payload.queue))
        return Payload({**payload.fields, FIELD: f"{self._first}.{mac}"})

    def fault(self, payload: Payload, queue: str) -> BadSignature | None:
        """Return what is wrong with the signature of a job that was found in a queue, if it is."""
        told = payload.fields.get(FIELD)
        if told is None:
            return BadSignature("it has none") if self._required else None
        if type(told) is not str:
            return BadSignature("it is no text")
        name, _, mac = told.partition(".")
        key = self._keys.get(name)
        if key is None:
            return BadSignature("it was made with a key that JOBQUEUE['SIGNING_KEYS'] has not")
        # In bytes: of texts only ASCII can be compared so that the time tells nothing.
        right = _mac(key, _signed(payload, queue)).encode()
        if hmac.compare_digest(right, mac.encode(errors="replace")):
            return None
        if queue != payload.queue and self.fault(payload, payload.queue) is None:
            return BadSignature(f"it is for the queue {payload.queue!r}, not for {queue!r}")
        return BadSignature("it is not that of these arguments, class, jid, queue and context")

    def carry(self, old: Payload, new: Payload) -> Payload:
        """
        Return what became of a job with a signature of its own.

        Only where it is another job now, and was rightly signed before: whoever moves a job
        must not sign what a stranger wrote.
        """
        if FIELD not in old.fields:
            return new
        if _signed(new, new.queue) == _signed(old, old.queue):
            return new
        return new if self.fault(old, old.queue) else self.sign(new)


def signer() -> Signer | None:
    """Return what signs jobs by the settings; None where they have no keys."""
    settings = get_settings()
    if not settings.signing_keys:
        return None
    return _made(settings.signing_keys, settings.signing_required)


def carried(old: Payload, new: Payload) -> Payload:
    """Return a job that we have changed, signed anew where that is needed and right."""
    ours = signer()
    return new if ours is None or new is old else ours.carry(old, new)


@lru_cache(maxsize=4)
def _made(keys: tuple[bytes, ...], required: bool) -> Signer:
    return Signer(keys, required=required)


def _signed(payload: Payload, queue: str) -> bytes:
    # Of what was read, not of the bytes: another program may write the same job otherwise.
    fields = payload.fields
    return canonical(
        [
            payload.job_class,
            payload.jid,
            queue,
            payload.args,
            fields.get("cattr"),
            fields.get("encrypt"),
            payload.bypasses_kill_switch,
        ]
    ).encode()


def _mac(key: bytes, text: bytes) -> str:
    return hmac.digest(key, text, hashlib.sha256).hex()
