"""Where redis-py's errors become ours."""

from __future__ import annotations

import re
import ssl

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from django_jobqueue.exceptions import (
    AccessDenied,
    StoreError,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
    WrongServer,
)

#: Answers of a server that will serve again: drop the connection, look anew, try again.
_PASSING = re.compile(
    r"\b(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|MISCONF|UNBLOCKED|TRYAGAIN|BUSY"
    r"|MOVED|ASK)\b"
)
#: The same, where redis-py has a class for it and takes the word out of the text.
_PASSING_ERRORS = (
    RedisConnectionError, RedisTimeoutError, ReadOnlyError, ClusterDownError, TryAgainError,
    AskError,
)  # fmt: skip
_FULL = re.compile(r"\bOOM\b")
_DENIED = re.compile(
    r"\b(NOAUTH|WRONGPASS|NOPERM)\b|ACL failure in script|user executing the script can't"
)


def translate(error: Exception, address: str) -> StoreError:
    """Return one of our errors for one of redis-py's, or of the system's, at an address."""
    if isinstance(error, StoreError):
        return error
    text = f"{error} (Redis at {address})"
    if fault := _fault_of_tls(error):
        return WrongServer(f"no TLS that can be trusted: {fault} (Redis at {address})")
    if isinstance(error, MovedError):
        # A line that can follow does so, and nobody hears of it.
        return WrongServer(
            f"another node of the cluster has our keys: name the nodes by a redis+cluster:// URL "
            f"(Redis at {address})"
        )
    if isinstance(error, (AuthenticationError, AuthorizationError, NoPermissionError)):
        return AccessDenied(text)
    if isinstance(error, (*_PASSING_ERRORS, OSError)):
        return StoreUnavailable(text)
    if isinstance(error, OutOfMemoryError) or _FULL.search(str(error)):
        return StoreFull(text)
    if _DENIED.search(str(error)):
        return AccessDenied(text)
    if _PASSING.search(str(error)):
        return StoreUnavailable(text)
    return StoreRefused(text)


def _fault_of_tls(error: BaseException) -> str:
    """
    Return what made the two sides of a TLS connection part, an empty text if nothing did.

    redis-py takes the error of TLS for one of the network, and leaves it in the context.
    """
    found: BaseException | None = error
    while found is not None and not isinstance(found, ssl.SSLError):
        found = found.__cause__ or found.__context__
    if found is None or isinstance(found, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return ""  # an end of the line, as without TLS
    if isinstance(found, ssl.SSLCertVerificationError):
        return f"the certificate is refused, {found.verify_message.rstrip('.')}"
    return str(found.reason or found)
