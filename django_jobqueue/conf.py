"""
settings.JOBQUEUE, read once and turned into one frozen object that can be trusted.

Whatever is wrong is told all at once, by the system checks and at the first use.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from django_jobqueue import timetable_settings, validators
from django_jobqueue.payload import DEFAULT_RETRIES
from django_jobqueue.redis_url import mask_url, parse
from django_jobqueue.store.keys import hash_tag
from django_jobqueue.timetable import Timetable
from django_jobqueue.validators import WeightedQueue, parse_queue

__all__ = [
    "Problem",
    "Settings",
    "WeightedQueue",
    "find_problems",
    "get_settings",
    "mask_url",
    "parse_queue",
    "read_settings",
]

#: Seconds of the shortest lease: beats and recovery need time in between.
MIN_LEASE = 15.0
#: Bytes of the largest string that Redis takes.
MAX_STRING = 512 * 1024 * 1024

#: Where an embedded server's data go when nothing is said, below BASE_DIR.
EMBEDDED_DIR = ".jobqueue"

#: The middleware that refuses the jobs of a class whose kill switch is on.
KILL_SWITCH_MIDDLEWARE = "django_jobqueue.middleware.kill_switch.KillSwitch"

#: What keys and arguments are called whose values are shown to nobody: regular expressions for
#: whole words of a name, in the singular.
REDACT = (
    "password", "passwd", "pwd", "passphrase", "passcode", "secret", "token", "jwt", "otp",
    "api_?key", "access_?key", "private_?key", "encryption_?key", "authorization", "auth",
    "bearer", "credential", "cookie", "session", "session_?id", "credit_?card", "card_?number",
    "cvv", "cvc", "ssn",
)  # fmt: skip

#: Settings that are printed for nobody.
_SECRETS = frozenset({"metrics_token", "signing_keys", "encryption_keys"})

#: Outlets that put nothing into Redis.
OUTLETS_WITHOUT_REDIS = ("fake", "inline")

#: Settings that tests override and that what we keep depends on.
_SOURCES = frozenset({"JOBQUEUE", "DEBUG", "BASE_DIR", "DATABASES"})


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in the settings: the id of its system check, the fact and the way out."""

    id: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class KillSwitchPolicy:
    """
    What a kill switch does with jobs that were accepted before it was thrown.

    ``queued_jobs`` is ``"hold"``, ``"run"`` or ``"drop"``. When it is off again,
    held jobs go back at ``release_rate`` jobs a second, and wait while the oldest
    job of their queue is older than ``release_max_latency`` seconds.
    """

    queued_jobs: str = "hold"
    release_rate: float = 50.0
    release_max_latency: float = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """
    The project's JOBQUEUE, complete and valid. Durations are in seconds.

    Never print ``redis_url``, which may hold a password, nor ``metrics_token`` and the keys.
    ``repr()`` hides them all, :func:`mask_url` the first.
    """

    redis_url: str | None
    key_prefix: str
    embedded_dir: Path
    outlet: str
    client_middleware: tuple[str, ...]
    server_middleware: tuple[str, ...]
    on_commit: bool | str
    on_commit_errors: str
    queues: tuple[WeightedQueue, ...]
    concurrency: int
    async_concurrency: int
    processes: int
    shutdown_timeout: float
    lease: float
    ack: str
    remote_signals: bool
    timestamps: str
    max_payload: int
    dead_max_entries: int
    dead_max_age: float
    default_retries: int
    unknown_job_retry_for: float
    poison_retry_delay: float
    poison_window: float
    poison_crashes: int
    socket_timeout: float
    boot_timeout: float
    allow_eviction: bool
    allow_no_auth: bool
    kill_switch: KillSwitchPolicy
    periodic: tuple[Timetable, ...]
    reconcilers: tuple[Timetable, ...]
    reconciler_runs_kept: float
    redact: tuple[str, ...]
    metrics_token: str | None
    signing_keys: tuple[bytes, ...]
    signing_required: bool
    encryption_keys: tuple[bytes, ...]

    def __repr__(self) -> str:
        shown = (f"{field.name}={self._shown(field.name)}" for field in fields(self))
        return f"Settings({', '.join(shown)})"

    def _shown(self, name: str) -> str:
        value = getattr(self, name)
        return "***" if value and name in _SECRETS else validators.show(value)


def get_settings() -> Settings:
    """
    Return the project's settings, read at the first call and kept until a test changes them.

    Raises: ImproperlyConfigured, listing every problem.
    """
    global _current
    current = _current
    if current is None:
        values, problems = read_settings(getattr(settings, "JOBQUEUE", {}))
        if problems:
            lines = [f"- ({each.id}) {each.message} {each.hint}" for each in problems]
            raise ImproperlyConfigured("\n".join(["settings.JOBQUEUE cannot be used:", *lines]))
        current = _current = Settings(**values)
    return current


def find_problems(raw: object) -> list[Problem]:
    """Return everything that is wrong with a value of settings.JOBQUEUE."""
    return read_settings(raw)[1]


def read_settings(raw: object) -> tuple[dict[str, Any], list[Problem]]:
    """
    Return the fields of Settings that ``raw`` stands for, and what is wrong with it.

    A field whose option is wrong has its default, so that the rest can be
    checked further.
    """
    if not isinstance(raw, Mapping):
        problem = Problem(
            "django_jobqueue.E001",
            f"settings.JOBQUEUE is of type {type(raw).__name__}, not a dict.",
            "Write JOBQUEUE = {'REDIS_URL': 'redis://localhost:6379/0'}.",
        )
        return read_settings({})[0], [problem]
    problems = [_unknown(key) for key in raw if key not in _NAMES]
    values = {}
    for option in _OPTIONS:
        value = option.default
        if option.name in raw:
            try:
                value = option.read(raw[option.name])
            except validators.Wrong as wrong:
                problems += (option.problem(fault) for fault in wrong.faults)
        values[option.name.lower()] = value
    if _lacks_redis(raw, values["outlet"]):
        problems.append(
            Problem(
                "django_jobqueue.E003",
                "JOBQUEUE['REDIS_URL'] is not set, and without DEBUG there is no embedded server.",
                "Set it, as in 'redis://localhost:6379/0'; for tests set JOBQUEUE['OUTLET'] to "
                "'fake' or 'inline'.",
            )
        )
    if _lacks_hash_tag(values["redis_url"], values["key_prefix"]):
        problems.append(
            Problem(
                "django_jobqueue.E007",
                f"JOBQUEUE['REDIS_URL'] names a cluster, and JOBQUEUE['KEY_PREFIX'] is "
                f"{values['key_prefix']!r}: our keys would be on several of its nodes.",
                "Set KEY_PREFIX to '{jobs}:': what is in the braces puts all keys on one node.",
            )
        )
    base = Path(getattr(settings, "BASE_DIR", None) or Path.cwd())
    values["embedded_dir"] = base / (values["embedded_dir"] or EMBEDDED_DIR)
    return values, problems


@dataclass(frozen=True, slots=True)
class _Option:
    name: str
    read: Callable[[Any], Any]
    default: Any

    def problem(self, fault: validators.Fault) -> Problem:
        return Problem(
            fault.id, f"JOBQUEUE[{self.name!r}]{fault.place} {fault.complaint}.", f"{fault.advice}."
        )


def _lacks_redis(raw: Mapping[Any, Any], outlet: str) -> bool:
    # A wrong URL is a problem of its own.
    missing = raw.get("REDIS_URL") is None
    return missing and outlet not in OUTLETS_WITHOUT_REDIS and not settings.DEBUG


def _lacks_hash_tag(url: str | None, prefix: str) -> bool:
    return url is not None and parse(url).kind == "cluster" and not hash_tag(prefix)


def _unknown(key: object) -> Problem:
    close = difflib.get_close_matches(str(key).upper(), _NAMES, n=1)
    return Problem(
        "django_jobqueue.E002",
        f"JOBQUEUE[{validators.show(key)}] is no setting of django-jobqueue.",
        f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(_NAMES)}.",
    )


_KILL_SWITCH = {
    "QUEUED_JOBS": validators.choice("hold", "run", "drop"),
    "RELEASE_RATE": validators.rate,
    "RELEASE_MAX_LATENCY": validators.duration(),
}


def _kill_switch(value: Any) -> KillSwitchPolicy:
    read = validators.mapping(value, _KILL_SWITCH)
    return KillSwitchPolicy(**{name.lower(): found for name, found in read.items()})


_OPTIONS = (
    _Option("REDIS_URL", validators.url, None),
    _Option("KEY_PREFIX", validators.prefix, ""),
    _Option("EMBEDDED_DIR", validators.directory, None),
    _Option("OUTLET", validators.outlet, "redis"),
    _Option("CLIENT_MIDDLEWARE", validators.middleware, (KILL_SWITCH_MIDDLEWARE,)),
    _Option(
        "SERVER_MIDDLEWARE",
        validators.middleware,
        (
            "django_jobqueue.middleware.database.DatabaseHygiene",
            "django_jobqueue.middleware.logging.LogContext",
        ),
    ),
    _Option("ON_COMMIT", validators.alias, True),
    _Option("ON_COMMIT_ERRORS", validators.choice("raise", "log"), "raise"),
    _Option("QUEUES", validators.queues, ()),
    _Option("CONCURRENCY", validators.integer(1), 10),
    _Option("ASYNC_CONCURRENCY", validators.integer(0), 100),
    _Option("PROCESSES", validators.integer(1), 1),
    _Option("SHUTDOWN_TIMEOUT", validators.duration(positive=False), 25.0),
    _Option("LEASE", validators.duration(MIN_LEASE), 60.0),
    _Option("ACK", validators.choice("batch", "each"), "batch"),
    _Option("REMOTE_SIGNALS", validators.boolean, True),
    _Option("TIMESTAMPS", validators.choice("milliseconds", "seconds"), "milliseconds"),
    _Option("MAX_PAYLOAD", validators.integer(1, MAX_STRING), 1_000_000),
    _Option("DEAD_MAX_ENTRIES", validators.integer(1), 10_000),
    _Option("DEAD_MAX_AGE", validators.duration(), 180 * 86_400.0),
    _Option("DEFAULT_RETRIES", validators.integer(0), DEFAULT_RETRIES),
    _Option("UNKNOWN_JOB_RETRY_FOR", validators.duration(positive=False), 600.0),
    _Option("POISON_RETRY_DELAY", validators.duration(positive=False), 60.0),
    _Option("POISON_WINDOW", validators.duration(), 72 * 3_600.0),
    _Option("POISON_CRASHES", validators.integer(1), 3),
    _Option("SOCKET_TIMEOUT", validators.duration(), 2.0),
    _Option("BOOT_TIMEOUT", validators.duration(positive=False), 60.0),
    _Option("ALLOW_EVICTION", validators.boolean, False),
    _Option("ALLOW_NO_AUTH", validators.boolean, False),
    _Option("KILL_SWITCH", _kill_switch, KillSwitchPolicy()),
    _Option("PERIODIC", timetable_settings.periodic, ()),
    _Option("RECONCILERS", timetable_settings.reconcilers, ()),
    _Option("RECONCILER_RUNS_KEPT", validators.duration(), 14 * 86_400.0),
    _Option("REDACT", validators.redact, REDACT),
    _Option("METRICS_TOKEN", validators.token, None),
    _Option("SIGNING_KEYS", validators.secrets, ()),
    _Option("SIGNING_REQUIRED", validators.boolean, True),
    _Option("ENCRYPTION_KEYS", validators.fernet_keys, ()),
)
_NAMES = [option.name for option in _OPTIONS]

_current: Settings | None = None


def _forget(*, setting: str, **kwargs: Any) -> None:
    global _current
    if setting in _SOURCES:
        _current = None


setting_changed.connect(_forget, dispatch_uid="django_jobqueue.conf")
