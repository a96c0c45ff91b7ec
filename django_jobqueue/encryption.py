"""
Arguments that only the worker reads: encrypted before the push, clear again for ``perform``.

In between they are one text, with the class and the jid of their job inside it: whoever writes
to Redis cannot give one job's secrets to another.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_jobqueue.conf import get_settings
from django_jobqueue.exceptions import DecryptionFailed, UnknownKey
from django_jobqueue.payload import Payload, dump_json
from django_jobqueue.secret_keys import derive, key_id
from django_jobqueue.unique import canonical, digest

#: The field of a payload: True where the push is to encrypt the arguments, then the key's name.
FIELD = "encrypt"

_PURPOSE = "encryption 1"

#: What to do where the library is not there.
INSTALL = "pip install 'django-jobqueue[encryption]'"


class Cipher:
    """Encrypts with the first of some keys of Fernet, and decrypts with all."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        # Here, for it is an extra.
        from cryptography.fernet import Fernet

        self._boxes = {key_id(key, _PURPOSE): Fernet(key) for key in keys}
        self._first = next(iter(self._boxes))
        self._digest_key = derive(keys[0], "digest 1")

    def encrypt(self, payload: Payload) -> Payload:
        """Return the job with its arguments encrypted. Raises: TypeError, ValueError: no JSON."""
        text = dump_json([payload.job_class, payload.jid, payload.args])
        token = self._boxes[self._first].encrypt(text.encode()).decode()
        return payload.replace(args=[token], **{FIELD: self._first})

    def args_of(self, payload: Payload) -> list[Any]:
        """Return the clear arguments. Raises: UnknownKey, DecryptionFailed."""
        from cryptography.fernet import InvalidToken

        name = payload.encrypted_with
        box = self._boxes.get(name or "")
        if box is None:
            raise UnknownKey(str(name))
        args = payload.args
        if len(args) != 1 or type(args[0]) is not str:
            raise DecryptionFailed("there is not one text in their place")
        try:
            job_class, jid, clear = json.loads(box.decrypt(args[0].encode(errors="replace")))
        except InvalidToken:
            raise DecryptionFailed("what stands in their place was changed") from None
        if (job_class, jid) != (payload.job_class, payload.jid):
            raise DecryptionFailed("they are those of another job")
        return list(clear)

    def digest(self, name: str, key: Any) -> str:
        """
        Return what names the lock of a job, as ``unique.digest`` does.

        With a key in it: else whoever reads the names of the locks could try what arguments
        may be, until one fits. Another first key makes other names.
        """
        text = canonical([name, key]).encode()
        return hmac.digest(self._digest_key, text, hashlib.sha256).hex()[:32]


def cipher() -> Cipher:
    """Return what encrypts by the settings. Raises: ImproperlyConfigured."""
    keys = get_settings().encryption_keys
    if keys:
        try:
            return _made(keys)
        except ImportError:
            pass  # told below
    raise ImproperlyConfigured(" ".join(find_problem(keys) or ("cryptography is broken.",)))


def find_problem(keys: Sequence[bytes]) -> tuple[str, str] | None:
    """Return why nothing can be encrypted with these keys, and the way out; None if it can."""
    if not keys:
        return (
            "JOBQUEUE['ENCRYPTION_KEYS'] is not set, and arguments are to be encrypted.",
            "Set it to a list of keys, as Fernet.generate_key() of cryptography makes them.",
        )
    if find_spec("cryptography") is None:
        return "cryptography is not installed, which encrypts arguments.", f"{INSTALL}."
    return None


def encrypted(payload: Payload) -> Payload:
    """
    Return a job that is to be pushed, its arguments encrypted where its class says so.

    Raises: ImproperlyConfigured where they cannot be.
    """
    return cipher().encrypt(payload) if payload.fields.get(FIELD) is True else payload


def clear_args(payload: Payload) -> list[Any]:
    """
    Return the arguments of a job, decrypted where they are encrypted.

    Raises: UnknownKey where the settings lack the key, DecryptionFailed,
    ImproperlyConfigured where the library is missing.
    """
    name = payload.encrypted_with
    if name is None:
        return payload.args
    if not get_settings().encryption_keys:
        raise UnknownKey(name)
    return cipher().args_of(payload)


def lock_digest(name: str, key: Any, *, is_secret: bool) -> str:
    """
    Return what names the lock of a job; ``is_secret`` where its arguments are encrypted.

    Raises: ImproperlyConfigured where there is no key; TypeError, ValueError: no JSON.
    """
    return cipher().digest(name, key) if is_secret else digest(name, key)


def work_digest(payload: Payload) -> str:
    """
    Return what names the work of a job, pushed or not: the digest of its clear arguments.

    Raises: ImproperlyConfigured where it is to be encrypted, and there is no key.
    """
    if FIELD not in payload.fields:
        return digest(payload.job_class, payload.args)
    if payload.encrypted_with is None:
        is_secret = payload.fields[FIELD] is True
        return lock_digest(payload.job_class, payload.args, is_secret=is_secret)
    try:
        return cipher().digest(payload.job_class, clear_args(payload))
    except (UnknownKey, DecryptionFailed, ImproperlyConfigured):
        return digest(payload.job_class, payload.args)  # no work that is known here


@lru_cache(maxsize=4)
def _made(keys: tuple[bytes, ...]) -> Cipher:
    return Cipher(keys)
