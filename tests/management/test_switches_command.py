"""``manage.py jobqueue switches``: see and throw the switches from a shell."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from waffle.models import Flag

from django_jobqueue import Job, Payload
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.disabled import held
from django_jobqueue.store.locks import lock_of
from django_jobqueue.store.sets import HOLD, Promotion
from django_jobqueue.store.store import Store
from django_jobqueue.switches import flags
from django_jobqueue.switches.state import OFF
from tests.conftest import JobqueueSettings
from tests.support.flags import is_refused, set_flag
from tests.support.server import RedisServer

FLAG = "disable_shell_job"

pytestmark = pytest.mark.django_db(transaction=True)


class ShellJob(Job):
    """Its switch is thrown from a shell."""

    wire_name = "Shell::Job"
    kill_switch_aliases = ("former_shell_job",)

    def perform(self) -> None:
        """Do nothing."""


class First:
    class TwinJob(Job):
        """Has a namesake."""

        def perform(self) -> None:
            """Do nothing."""


class Second:
    class TwinJob(Job):
        """Has a namesake."""

        def perform(self) -> None:
            """Do nothing."""


@pytest.fixture(autouse=True)
def store(jobqueue_settings: JobqueueSettings, redis_server: RedisServer) -> Iterator[Store]:
    """The Redis of this test."""
    made = Store(redis_server.url, prefix=jobqueue_settings(), timeout=10.0)
    yield made
    made.close()


def switches(*arguments: str) -> str:
    out = StringIO()
    call_command("jobqueue", "switches", *arguments, stdout=out)
    return out.getvalue()


def state_of(flag: str) -> str:
    return flags.read_states().get(flag, OFF).encode()


def listed() -> dict[str, dict[str, Any]]:
    return {row["flag"]: row for row in json.loads(switches("--json"))}


# Throwing -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["ShellJob", "disable_shell_job", "shell_job", "Shell::Job", f"{__name__}.ShellJob"],
)
def test_a_job_is_disabled_and_enabled_by_any_of_its_names(name: str, store: Store) -> None:
    assert switches("disable", name) == f"{FLAG}: off -> on\n"
    assert state_of(FLAG) == "on"
    assert is_refused(ShellJob)
    assert store.switches.read() == {FLAG: "on"}
    assert switches("enable", name) == f"{FLAG}: on -> off\n"
    assert state_of(FLAG) == "off"
    assert not is_refused(ShellJob)


def test_a_share_of_the_jobs_is_stopped() -> None:
    assert switches("percent", "ShellJob", "33.3") == f"{FLAG}: off -> 33.3 %\n"
    assert state_of(FLAG) == "33.3"
    assert switches("percent", "ShellJob", "100") == f"{FLAG}: 33.3 % -> on\n"
    assert switches("percent", "ShellJob", "0") == f"{FLAG}: on -> off\n"


@pytest.mark.parametrize("percent", ["101", "-1", "nan"])
def test_what_is_no_percentage_is_refused(percent: str) -> None:
    with pytest.raises(CommandError, match="is not a percentage"):
        switches("percent", "ShellJob", "--", percent)
    assert state_of(FLAG) == "off"


def test_a_missing_row_is_made() -> None:
    Flag.objects.filter(name=FLAG).delete()
    switches("disable", "ShellJob")
    assert state_of(FLAG) == "on"


def test_enabling_a_job_also_turns_off_the_flags_that_it_had_before() -> None:
    set_flag(FLAG, True)
    set_flag("disable_former_shell_job", True)
    out = switches("enable", "ShellJob")
    assert out == f"{FLAG}: on -> off\ndisable_former_shell_job: on -> off\n"
    assert not is_refused(ShellJob)


def test_a_flag_of_no_known_class_is_thrown_by_its_name() -> None:
    set_flag("disable_of_another_site", True)
    assert "on -> off" in switches("enable", "disable_of_another_site")
    assert "off -> on" in switches("disable", "of_another_site")


def test_what_was_done_can_be_had_as_json() -> None:
    assert json.loads(switches("disable", "ShellJob", "--json")) == [
        {"flag": FLAG, "from": "off", "to": "on"}
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SchellJob", "ShellJob"),
        ("disable_shel_job", FLAG),
        ("shel_job", FLAG),
    ],
)
def test_a_name_that_stands_for_nothing_is_told_with_what_it_may_mean(
    name: str, meant: str
) -> None:
    flags_before = Flag.objects.count()
    with pytest.raises(CommandError, match=f"Did you mean '{meant}'"):
        switches("disable", name)
    assert Flag.objects.count() == flags_before


def test_a_name_like_no_other_is_just_told() -> None:
    with pytest.raises(CommandError, match=r"no kill switch 'qqqqqqqqqqqq'\.$"):
        switches("disable", "qqqqqqqqqqqq")


def test_a_name_of_two_classes_throws_none_of_them() -> None:
    with pytest.raises(CommandError, match=r"First\.TwinJob, .*Second\.TwinJob"):
        switches("disable", "TwinJob")
    assert "disable_first_twin_job" in switches("disable", "First.TwinJob")


# Listing ------------------------------------------------------------------------------


def test_switches_are_listed_with_what_they_stopped(store: Store) -> None:
    switches("percent", "ShellJob", "30")
    store.tally.add("refused", {wire_name(ShellJob): 5})
    store.tally.add("dropped", {wire_name(ShellJob): 2})
    store.tally.add("held", {wire_name(ShellJob): 99})
    row = listed()[FLAG]
    for moment in ("since", "actor", "counted_from"):
        assert row.pop(moment)
    assert row == {
        "flag": FLAG,
        "state": "30.0",
        "percent": 30.0,
        "jobs": [f"{__name__}.ShellJob"],
        "names": ["Shell::Job"],
        "is_reconciler": False,
        "source": "command",
        "refused": 5,
        "held": 0,
        "dropped": 2,
        "refused_since": 5,
        "dropped_since": 2,
        "notes": [],
    }


def test_the_list_is_a_table_for_people() -> None:
    set_flag("disable_of_another_site", True)
    switches("disable", "ShellJob")
    lines = switches("list").splitlines()
    assert lines[0].split() == "SWITCH STATE REFUSED HELD DROPPED SINCE BY JOB".split()
    (line,) = (line for line in lines if line.startswith(FLAG))
    assert line.split()[1:5] == ["on", "0", "0", "0"]
    assert line.endswith(f"command  {__name__}.ShellJob")
    assert ["disable_of_another_site", "on"] in [line.split()[:2] for line in lines]


def test_classes_without_a_row_are_listed_and_former_names_only_with_one() -> None:
    Flag.objects.all().delete()
    rows = listed()
    assert rows[FLAG]["state"] == "off"
    assert "disable_former_shell_job" not in rows
    set_flag("disable_former_shell_job", True)
    assert listed()["disable_former_shell_job"]["jobs"] == [f"{__name__}.ShellJob"]


def test_without_redis_the_states_are_listed_all_the_same(settings: Any) -> None:
    set_flag(FLAG, True)
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    row = listed()[FLAG]
    assert (row["state"], row["refused"]) == ("on", None)
    assert "?" in switches()


def test_without_waffle_there_is_nothing_to_throw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "is_installed", lambda: False)
    with pytest.raises(CommandError, match="waffle is not in INSTALLED_APPS"):
        switches()


# The command itself --------------------------------------------------------------------


def test_a_subcommand_is_needed_and_must_be_one() -> None:
    for arguments in ([], ["nonsense"]):
        with pytest.raises(CommandError, match=r"SUBCOMMAND|invalid choice"):
            call_command("jobqueue", *arguments)


def test_the_code_of_a_subcommand_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_jobqueue.management.subcommands.switches.handle", lambda *_: 3)
    with pytest.raises(SystemExit) as exit_of:
        switches()
    assert exit_of.value.code == 3


# Held jobs ----------------------------------------------------------------------


def hold(store: Store, count: int) -> list[Payload]:
    """Hold jobs as a worker does, each with a lock."""
    made = [
        Payload(
            {
                "class": "Shell::Job", "args": [], "jid": f"{number:024x}", "queue": "low",
                "unique_for": 60.0, "unique_digest": f"{number:032x}",
            }
        )
        for number in range(count)
    ]  # fmt: skip
    for first in range(0, count, 100):
        page = made[first : first + 100]
        store.queues.push({}, [(1.0, payload.encode()) for payload in page])
        store.sets.promote(
            "schedule",
            [
                Promotion(
                    HOLD, p.encode(), held(p, "queue").encode(),
                    job_class="Shell::Job", lock=lock_of(p),
                )
                for p in page
            ],
        )  # fmt: skip
    return made


def digests(payloads: Iterable[Payload]) -> list[str]:
    return [str(payload.unique_digest) for payload in payloads]


@pytest.mark.parametrize("name", ["ShellJob", "Shell::Job", FLAG])
def test_held_jobs_are_released_at_once(store: Store, name: str) -> None:
    jobs = hold(store, 250)
    assert switches("release", name) == "Shell::Job: 250 job(s) released\n"
    assert [Payload.decode(raw).jid for raw in store.queues.page("low", 0, 1000)] == [
        job.jid for job in jobs
    ]
    assert store.held.classes() == {}
    assert len(store.locks.owners(digests(jobs))) == 250


def test_so_many_held_jobs_are_released_as_one_says(store: Store) -> None:
    hold(store, 250)
    assert json.loads(switches("release", "ShellJob", "--limit", "120", "--json")) == {
        "job": "Shell::Job",
        "released": 120,
    }
    assert store.held.classes() == {"Shell::Job": 130}
    with pytest.raises(CommandError, match="--limit 0"):
        switches("release", "ShellJob", "--limit", "0")


def test_nothing_is_released_while_the_switch_is_on(store: Store) -> None:
    hold(store, 3)
    set_flag(FLAG, everyone=True)
    with pytest.raises(CommandError, match="jobqueue switches enable ShellJob"):
        switches("release", "ShellJob")
    assert store.held.classes() == {"Shell::Job": 3}


def test_a_purge_is_confirmed_by_hand_and_frees_the_locks(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = hold(store, 150)
    monkeypatch.setattr("builtins.input", lambda prompt: "yes")
    with pytest.raises(CommandError, match="Nothing was done"):
        switches("purge", "ShellJob")
    assert store.held.classes() == {"Shell::Job": 150}
    monkeypatch.setattr("builtins.input", lambda prompt: "ShellJob")
    assert switches("purge", "ShellJob").endswith("Shell::Job: 150 job(s) purged\n")
    assert store.held.classes() == {}
    assert store.locks.owners(digests(jobs)) == {}
    assert store.queues.page("low") == []


def test_a_purge_without_a_terminal_says_what_to_give(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(prompt: str) -> str:
        raise EOFError

    hold(store, 1)
    monkeypatch.setattr("builtins.input", nobody)
    with pytest.raises(CommandError, match="--yes"):
        switches("purge", "ShellJob")
    assert store.held.classes() == {"Shell::Job": 1}


def test_a_program_purges_without_being_asked(store: Store) -> None:
    hold(store, 2)
    assert json.loads(switches("purge", "Shell::Job", "--yes", "--json"))["purged"] == 2
    assert json.loads(switches("purge", "Shell::Job", "--yes", "--json"))["purged"] == 0


def test_what_is_no_class_holds_nothing_that_could_be_released() -> None:
    with pytest.raises(CommandError, match="There is no job"):
        switches("release", "NoSuchJob")


def test_a_redis_that_is_away_is_told_without_a_traceback(settings: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": "redis://127.0.0.1:1/0"}
    with pytest.raises(CommandError, match=r"Connection refused"):
        switches("release", "ShellJob")
