"""What a Redis URL may look like, what it says, and how one is shown without its password."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

#: What a URL may begin with, and what stands at its address.
SCHEMES = {
    "redis": "server",
    "rediss": "server",
    "unix": "server",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}

#: The port of a host that names none.
PORTS = {"server": 6379, "sentinel": 26379, "cluster": 6379}

#: Parameters that are seconds, whole numbers, and words.
_SECONDS = ("socket_timeout", "socket_connect_timeout")
_NUMBERS = ("db", "socket_read_size", "health_check_interval", "max_connections")
_WORDS = ("username", "password", "client_name", "socket_keepalive")
#: Those of TLS alone.
_OF_TLS = (
    "ssl_ca_certs", "ssl_ca_path", "ssl_ca_data", "ssl_certfile", "ssl_keyfile", "ssl_password",
    "ssl_cert_reqs", "ssl_check_hostname", "ssl_ciphers",
)  # fmt: skip
#: Those for the Sentinels themselves.
_OF_SENTINEL = ("sentinel_username", "sentinel_password")
#: Those that name something on the disk.
_PATHS = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")

_EXAMPLE = "Write it as in 'redis://user:password@localhost:6379/0'"
_EXAMPLES = {
    "server": _EXAMPLE,
    "sentinel": "Write it as in 'redis+sentinel://user:password@host1:26379,host2:26379/mymaster/0'",
    "cluster": "Write it as in 'redis+cluster://user:password@host1:6379,host2:6379'",
}
_ENCODE = "percent-encode special characters: # is %23, / is %2F, ? is %3F and @ is %40"

Fault = tuple[str, str]


@dataclass(frozen=True, slots=True)
class RedisURL:
    """
    What a valid URL says.

    ``kind`` is what stands at the ``hosts``: one ``"server"`` (without a host it is a
    unix socket), the ``"sentinel"``s that know where ``master`` is, or nodes of a
    ``"cluster"``. ``plain`` is the URL of one server at the first host, with all that
    holds for any other: it has the password, so it is not printed.
    """

    kind: str
    hosts: tuple[tuple[str, int], ...]
    is_encrypted: bool
    has_credentials: bool
    plain: str = field(repr=False)
    master: str = ""
    sentinel_username: str = field(default="", repr=False)
    sentinel_password: str = field(default="", repr=False)
    #: Files and directories by the parameter that names them.
    paths: tuple[tuple[str, str], ...] = ()


class _Parts(NamedTuple):
    """A URL cut apart. urlsplit cannot: to it several hosts, some in brackets, are none."""

    scheme: str
    credentials: str
    hosts: str
    path: str
    query: str

    @property
    def kind(self) -> str:
        return SCHEMES[self.scheme]

    @property
    def is_encrypted(self) -> bool:
        return self.scheme.startswith("rediss")

    @property
    def parameters(self) -> dict[str, str]:
        return {
            name: values[0] for name, values in parse_qs(self.query, keep_blank_values=True).items()
        }

    def addresses(self) -> list[tuple[str, int]]:
        """Return hosts and ports. Raises: ValueError, whose text may have a piece of a password."""
        found = []
        for each in self.hosts.split(","):
            parts = urlsplit(f"//{each}")
            port = PORTS[self.kind] if parts.port is None else parts.port
            found.append((unquote(parts.hostname or ""), port))
        return found

    @property
    def steps(self) -> list[str]:
        """The path between its slashes: a master and a database, or the latter alone."""
        return [unquote(step) for step in self.path.removeprefix("/").split("/")]


def parse(url: str) -> RedisURL:
    """
    Return what a URL says.

    Raises: ValueError when :func:`find_fault` finds one, without a password in it.
    """
    fault = find_fault(url)
    if fault is not None:
        raise ValueError(f"The URL {fault[0]}. {fault[1]}.")
    parts = _split(url)
    parameters = parts.parameters
    # A name alone proves nothing: an open server takes it, with any password or none.
    proofs = (
        parts.credentials.partition(":")[2],
        *map(parameters.get, ("password", "ssl_certfile")),
    )
    master, *database = parts.steps if parts.kind == "sentinel" else [""]
    return RedisURL(
        kind=parts.kind,
        hosts=() if parts.scheme == "unix" else tuple(parts.addresses()),
        is_encrypted=parts.is_encrypted,
        has_credentials=any(proofs),
        plain=url if parts.kind == "server" else _plain(parts, "".join(database)),
        master=master,
        sentinel_username=parameters.get("sentinel_username", ""),
        sentinel_password=parameters.get("sentinel_password", ""),
        paths=tuple((name, parameters[name]) for name in _PATHS if name in parameters),
    )


def _plain(parts: _Parts, database: str) -> str:
    """Return the URL of the one server at the first host."""
    scheme = "rediss" if parts.is_encrypted else "redis"
    user = f"{parts.credentials}@" if parts.credentials else ""
    host = parts.hosts.partition(",")[0]
    kept = [
        each
        for each in parts.query.split("&")
        if unquote(each.partition("=")[0]) not in _OF_SENTINEL
    ]
    return f"{scheme}://{user}{host}/{database}?{'&'.join(kept)}"


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


def find_fault(url: object) -> Fault | None:
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


def _find_fault(url: str) -> Fault | None:
    scheme, mark, _ = url.partition("://")
    if not mark or scheme not in SCHEMES:
        return _fault_of_scheme(scheme if mark else "")
    if not url.isprintable() or " " in url:
        return "which has a space or a control character in it", _EXAMPLE
    parts = _split(url)
    try:
        hosts = [] if scheme == "unix" else parts.addresses()
    except ValueError:
        # The error's own text is not passed on: it may quote a piece of the password.
        return "whose host or port cannot be made out", f"{_EXAMPLES[parts.kind]}; {_ENCODE}"
    if "#" in url or "@" in parts.path + parts.query:
        return "which has a '#', or an '@' after its host, in it", _ENCODE
    if fault := _fault_of_parameters(parts):
        return fault
    if scheme == "unix" and (parts.hosts or len(parts.path) < 2):
        return (
            "without the absolute path of a socket",
            "Write three slashes, as in 'unix:///run/redis.sock'",
        )
    return None if scheme == "unix" else _fault_of_hosts(parts, hosts) or _fault_of_path(parts)


def _fault_of_hosts(parts: _Parts, hosts: Sequence[tuple[str, int]]) -> Fault | None:
    example = _EXAMPLES[parts.kind]
    if not all(host for host, _ in hosts):
        return "without a host" if len(hosts) == 1 else "with a comma and no host", example
    if not all(port for _, port in hosts):
        return "whose port is 0", example
    if parts.kind == "server" and len(hosts) > 1:
        return (
            "which names several hosts, and is one server's",
            f"{_EXAMPLES['sentinel']}, or for a cluster 'redis+cluster://host1:6379,host2:6379'",
        )
    if parts.kind != "server" and "@" in parts.credentials:
        return (
            "with an '@' before its last host, or in its password",
            f"Write user and password once, before the first host, and {_ENCODE}",
        )
    return None


def _fault_of_scheme(scheme: str) -> Fault:
    for kind in ("sentinel", "cluster"):
        if kind in scheme:
            return (
                f"which does not begin with redis+{kind}://, or rediss+{kind}:// for TLS",
                _EXAMPLES[kind],
            )
    return "which does not begin with redis://, rediss:// or unix://", (
        f"{_EXAMPLE}; for Sentinel and Cluster there are redis+sentinel:// and redis+cluster://"
    )


def _fault_of_parameters(parts: _Parts) -> Fault | None:
    known = [*_WORDS, *_NUMBERS, *_SECONDS]
    if parts.scheme == "unix":
        known.remove("socket_keepalive")
    known += _OF_TLS if parts.is_encrypted else ()
    known += _OF_SENTINEL if parts.kind == "sentinel" else ()
    for name, value in parts.parameters.items():
        if not name and not value:
            continue  # a '?' or '&' with nothing after it
        if name in _OF_TLS and not parts.is_encrypted:
            secure = "rediss" if parts.scheme == "unix" else parts.scheme.replace("redis", "rediss")
            return (
                f"which has {name}, and no TLS",
                f"Write {secure}:// instead of {parts.scheme}://",
            )
        if name not in known:
            close = difflib.get_close_matches(name.lower(), known, n=1)
            guess = f"Did you mean {close[0]!r}? " if close else ""
            return (
                f"whose parameter {name!r} is not known",
                f"{guess}There are {', '.join(known)}",
            )
        if name == "db" and not value.isdecimal():
            return "whose db is not the number of a database", _EXAMPLES[parts.kind]
        if name in _NUMBERS and not value.isdecimal():
            return f"whose {name} is not a whole number", f"Give {name} in digits"
        if name in _SECONDS and not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            return f"whose {name} is not a number", f"Give {name} in seconds"
    if parts.parameters.get("ssl_cert_reqs", "required") not in ("required", "optional", "none"):
        return "whose ssl_cert_reqs is not known", "Set it to required (the default) or none"
    return None


def _fault_of_path(parts: _Parts) -> Fault | None:
    example = _EXAMPLES[parts.kind]
    if parts.kind == "sentinel":
        master, *database = parts.steps
        if not master:
            return "without the name of a master after its hosts", example
        if len(database) > 1 or not re.fullmatch("[0-9]*", "".join(database)):
            return "whose path is not a master and the number of a database", example
    elif parts.kind == "cluster":
        if not re.fullmatch("(/0?)?", parts.path) or int(parts.parameters.get("db", "0")):
            return "which names a database, and a cluster has only one", example
    elif not re.fullmatch("(/[0-9]*)?", parts.path):
        return "whose path is not the number of a database", example
    return None


def _split(url: str) -> _Parts:
    scheme, _, rest = url.partition("://")
    address, _, query = rest.partition("?")
    network, slash, path = address.partition("/")
    credentials, _, hosts = network.rpartition("@")
    return _Parts(scheme, credentials, hosts, slash + path, query)
