"""``manage.py runjobs``: what its flags mean before anything runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError

from django_jobqueue.conf import get_settings
from django_jobqueue.exceptions import BootError
from django_jobqueue.job.registry import Registry
from django_jobqueue.log import JsonFormatter
from django_jobqueue.management.commands import runjobs as room
from django_jobqueue.worker.options import WorkerOptions
from tests.conftest import JobqueueSettings


def flags(*words: str) -> dict[str, Any]:
    """Return what the command makes of its arguments."""
    parser = room.Command().create_parser("manage.py", "runjobs")
    return vars(parser.parse_args(list(words)))


def options(*words: str) -> WorkerOptions:
    """Return what the worker is asked to do."""
    return room._worker_options(get_settings(), flags(*words))


@pytest.fixture(autouse=True)
def _settings(jobqueue_settings: JobqueueSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    jobqueue_settings()
    monkeypatch.setattr(Registry, "queues", lambda self: ["default", "mail", "slow"])


# Queues -----------------------------------------------------------------------


def test_every_queue_that_a_job_names_but_those_that_are_excluded() -> None:
    assert options().queues.weights == {"default": 1, "mail": 1, "slow": 1}
    assert options("--exclude-queue", "mail").queues.names == ["default", "slow"]
    assert options("--exclude-queue", "mail, slow").queues.names == ["default"]
    twice = options("--exclude-queue", "mail", "--exclude-queue", "slow")
    assert twice.queues.names == ["default"]


def test_named_queues_and_those_of_the_settings_can_be_excluded_too(
    jobqueue_settings: JobqueueSettings,
) -> None:
    given = options("-q", "a,6", "-q", "b,2", "--exclude-queue", "a", "--strict").queues
    assert (given.weights, given.strict) == ({"b": 2}, True)
    jobqueue_settings(QUEUES=["a,6", "b,2"])
    assert options("--exclude-queue", "b").queues.weights == {"a": 6}


def test_when_nothing_is_left_the_worker_does_not_start() -> None:
    with pytest.raises(BootError, match="--exclude-queue leaves no queue to work on"):
        options("--exclude-queue", "default,mail,slow")


def test_a_name_that_is_no_queue_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert options("--exclude-queue", "slwo").queues.names == ["default", "mail", "slow"]
    assert caplog.messages == [
        "--exclude-queue 'slwo': it is none of the queues default, mail, slow"
    ]
    with pytest.raises(BootError, match="--exclude-queue 'a b': 'a b' is not a queue name"):
        options("--exclude-queue", "a b")


# Limits and settings ------------------------------------------------------------


def test_limits_are_off_unless_they_are_given() -> None:
    assert (options().max_jobs, options().max_memory) == (None, None)
    given = options("--max-jobs", "1000", "--max-memory", "250.5")
    assert (given.max_jobs, given.max_memory) == (1000, 250.5)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--max-jobs", "0"], "--max-jobs 0: it is a number from 1 on"),
        (["--max-memory", "0"], "--max-memory 0.0: it is a number of MB above 0"),
        (["--max-memory", "nan"], "--max-memory nan"),
    ],
)
def test_a_limit_that_cannot_be_is_told(words: list[str], complaint: str) -> None:
    with pytest.raises(BootError, match=complaint):
        options(*words)


def test_remote_signals_follow_the_settings(jobqueue_settings: JobqueueSettings) -> None:
    assert options().remote_signals
    jobqueue_settings(REMOTE_SIGNALS=False)
    assert not options().remote_signals


# Reloading ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "debug", "reloads"),
    [
        ([], True, True),
        ([], False, False),
        (["--reload"], False, True),
        (["--no-reload"], True, False),
        (["--burst"], True, False),
        (["--burst", "--reload"], False, True),
    ],
)
def test_it_reloads_under_debug_or_as_told(
    settings: Any, words: list[str], debug: bool, reloads: bool
) -> None:
    settings.DEBUG = debug
    assert room._reloads(flags(*words)) is reloads


# The log ------------------------------------------------------------------------


@pytest.fixture
def ours() -> Iterator[logging.Logger]:
    """Our logger, without the handlers of anybody."""
    logger = logging.getLogger("django_jobqueue")
    before = logger.handlers, logger.level, logger.propagate
    logger.handlers = []
    yield logger
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def test_the_log_is_text_or_json(ours: logging.Logger) -> None:
    room._set_up_logging(1, "json")
    (handler,) = ours.handlers
    assert isinstance(handler.formatter, JsonFormatter)
    ours.handlers = []
    room._set_up_logging(1, "text")
    (handler,) = ours.handlers
    assert not isinstance(handler.formatter, JsonFormatter)


def test_what_the_project_has_set_up_is_left_alone(ours: logging.Logger) -> None:
    theirs = logging.NullHandler()
    ours.addHandler(theirs)
    room._set_up_logging(1, "json")
    assert ours.handlers == [theirs]
    assert theirs.formatter is None


# Who it is ----------------------------------------------------------------------


def test_a_start_that_fails_has_the_exit_code_of_its_reason(
    ours: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(given: dict[str, Any]) -> int:
        raise BootError("no")

    monkeypatch.setattr(room, "_run", fail)
    with pytest.raises(CommandError, match="no") as caught:
        room.Command().handle(**flags())
    assert caught.value.returncode == 1


@pytest.mark.parametrize(("uid", "told"), [(0, 1), (1000, 0)])
def test_root_is_warned_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, uid: int, told: int
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(room, "_supervise", lambda *args, **rest: 0)
    assert room._run(flags("--no-reload")) == 0
    assert sum("running as root" in line for line in caplog.messages) == told


def test_a_pid_file_of_a_process_that_lives_refuses_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    path = tmp_path / "pid"
    path.write_text("1")
    monkeypatch.setattr(room, "_supervise", lambda *args, **rest: 0)
    with pytest.raises(BootError, match="names process 1, which runs"):
        room._run(flags("--no-reload", "--pid-file", str(path)))
    path.unlink()
    assert room._run(flags("--no-reload", "--pid-file", str(path))) == 0
    assert not path.exists()
