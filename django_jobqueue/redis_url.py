"""What a Redis URL may look like, and how one is shown without its password."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote, urlsplit

SCHEMES = ("redis", "rediss", "unix")

_EXAMPLE = "Write it as in 'redis://user:password@localhost:6379/0'"
_ENCODE = "percent-encode special characters: # is %23, / is %2F, ? is %3F and @ is %40"


def mask_url(url: str) -> str:
    """
    Return a URL as it may be shown: passwords become ``***``.

    It works on what is no proper URL too, and rather hides too much: a password
    that should have been percent-encoded may contain any character.
    """
    address, mark, query = url.partition("?")
    url = address + mark + "&".join(_mask_parameter(each) for each in query.split("&"))
    start = scheme.end() if (scheme := re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/*", url)) else 0
    # The last @, not the first: an unencoded password may have one of its own.
    credentials, at, rest = url[start:].rpartition("@")
    if not at:
        return url
    user, colon, _ = credentials.partition(":")
    return f"{url[:start]}{user + ':' if colon else ''}***@{rest}"


def _mask_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    secret = re.search("pass|pwd|secret|token", unquote(name), re.IGNORECASE)
    return f"{name}=***" if equals and secret else parameter


def find_fault(url: object) -> tuple[str, str] | None:
    """
    Return why ``url`` is no address of a Redis, and the way out; None for a good one.

    The first is the end of a sentence that begins with the URL's place. Neither
    text holds a password.
    """
    if not isinstance(url, str):
        # Not shown: it may hold a password where nothing would find it.
        return f"is of type {type(url).__name__}, not a string", _EXAMPLE
    complaint, advice = _find_fault(url) or ("", "")
    return (f"is {mask_url(url)!r}, {complaint}", advice) if complaint else None


def _find_fault(url: str) -> tuple[str, str] | None:
    scheme, mark, _ = url.partition("://")
    if mark and re.search("sentinel|cluster", scheme):
        return (
            "but Sentinel and Cluster are not supported yet",
            "Name one server by a redis://, rediss:// or unix:// URL",
        )
    if not mark or scheme not in SCHEMES:
        return "which does not begin with redis://, rediss:// or unix://", _EXAMPLE
    if not url.isprintable() or " " in url:
        return "which has a space or a control character in it", _EXAMPLE
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        # The error's own text is not passed on: it may quote a piece of the password.
        return "whose host or port cannot be made out", f"{_EXAMPLE}; {_ENCODE}"
    if "#" in url or "@" in parts.path + parts.query:
        return "which has a '#', or an '@' after its host, in it", _ENCODE
    if not all(number.isdecimal() for number in parse_qs(parts.query).get("db", [])):
        return "whose db is not the number of a database", _EXAMPLE
    if scheme == "unix":
        if (parts.netloc and not parts.netloc.endswith("@")) or len(parts.path) < 2:
            return (
                "without the absolute path of a socket",
                "Write three slashes, as in 'unix:///run/redis.sock'",
            )
        return None
    if not host or port == 0:
        return "without a host" if not host else "whose port is 0", _EXAMPLE
    if not re.fullmatch("(/[0-9]*)?", parts.path):
        return "whose path is not the number of a database", _EXAMPLE
    return None
