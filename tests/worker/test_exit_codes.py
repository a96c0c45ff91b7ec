"""Exit codes know what they mean, and the command tells."""

from __future__ import annotations

from django_jobqueue.management.commands.runjobs import Command
from django_jobqueue.worker.boot import RedisUnreachable
from django_jobqueue.worker.exit_codes import ExitCode, told


def test_they_are_plain_numbers_with_a_meaning() -> None:
    assert [int(code) for code in ExitCode] == [0, 1, 3, 75]
    assert all(code.meaning for code in ExitCode)


def test_the_help_of_the_command_has_all_of_them() -> None:
    assert told() in Command.help
    assert all(f"{code.value} {code.meaning}" in told() for code in ExitCode)


def test_errors_at_the_start_use_them() -> None:
    assert RedisUnreachable.exit_code == ExitCode.UNREACHABLE
