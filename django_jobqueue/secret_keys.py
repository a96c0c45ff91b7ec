"""What is made of a secret of the settings: a key for one purpose, and a name for it."""

from __future__ import annotations

import hashlib
import hmac

#: Hex digits of the name of a key.
ID_DIGITS = 16


def derive(secret: bytes, purpose: str) -> bytes:
    """Return the key of 32 bytes that a secret has for a purpose; another purpose, another key."""
    return hmac.digest(secret, f"django-jobqueue {purpose}".encode(), hashlib.sha256)


def key_id(secret: bytes, purpose: str) -> str:
    """Return what names that key where everybody may read it: 16 hex digits."""
    return derive(secret, f"name of {purpose}").hex()[:ID_DIGITS]
