"""settings.JOBQUEUE: complete and valid inside, whatever was written outside."""

from __future__ import annotations

import ast
from dataclasses import FrozenInstanceError, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_jobqueue import conf, redis_url, validators
from django_jobqueue.conf import (
    KillSwitchPolicy,
    Problem,
    Settings,
    WeightedQueue,
    find_problems,
    get_settings,
    mask_url,
    parse_queue,
)
from django_jobqueue.timetable import Timetable

URL = "redis://localhost:6379/0"

#: Settings that are dicts of their own.
DICTS = {"KILL_SWITCH", "PERIODIC", "RECONCILERS"}

#: What must never be printed.
SECRET = "s3cr3t"


def problem_of(**options: Any) -> Problem:
    """Return the one problem of these options."""
    (problem,) = find_problems({"REDIS_URL": URL, **options})
    return problem


def read(settings: Any, **options: Any) -> Settings:
    settings.JOBQUEUE = {"REDIS_URL": URL, **options}
    return get_settings()


def test_nothing_but_a_url_is_needed(settings: Any) -> None:
    settings.BASE_DIR = "/srv/shop"
    assert read(settings) == Settings(
        redis_url=URL,
        key_prefix="",
        embedded_dir=Path("/srv/shop/.jobqueue"),
        outlet="redis",
        client_middleware=("django_jobqueue.middleware.kill_switch.KillSwitch",),
        server_middleware=(
            "django_jobqueue.middleware.database.DatabaseHygiene",
            "django_jobqueue.middleware.logging.LogContext",
        ),
        on_commit=True,
        on_commit_errors="raise",
        queues=(),
        concurrency=10,
        async_concurrency=100,
        processes=1,
        shutdown_timeout=25.0,
        lease=60.0,
        ack="batch",
        timestamps="milliseconds",
        max_payload=1_000_000,
        dead_max_entries=10_000,
        dead_max_age=180 * 86_400.0,
        default_retries=25,
        unknown_job_retry_for=600.0,
        poison_retry_delay=60.0,
        poison_window=72 * 3_600.0,
        poison_crashes=3,
        socket_timeout=2.0,
        boot_timeout=60.0,
        allow_eviction=False,
        allow_no_auth=False,
        remote_signals=True,
        kill_switch=KillSwitchPolicy("hold", 50.0, 60.0),
        periodic=(),
        reconcilers=(),
        reconciler_runs_kept=14 * 86_400.0,
        redact=conf.REDACT,
        metrics_token=None,
        signing_keys=(),
        signing_required=True,
        encryption_keys=(),
    )


def test_every_option_has_its_field() -> None:
    assert [field.name for field in fields(Settings)] == [name.lower() for name in conf._NAMES]


def test_every_default_passes_its_own_reader() -> None:
    for option in conf._OPTIONS:
        # What is a dict outside is something else inside.
        written = {} if option.name in DICTS else option.default
        assert option.read(written) == option.default


def test_settings_are_frozen(settings: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        read(settings).lease = 1.0  # type: ignore[misc]


def test_settings_are_read_once(settings: Any) -> None:
    assert read(settings) is get_settings()


@pytest.mark.parametrize("name", ["JOBQUEUE", "DEBUG", "BASE_DIR"])
def test_an_overridden_setting_is_seen(settings: Any, name: str) -> None:
    before = read(settings)
    setattr(settings, name, {"REDIS_URL": URL} if name == "JOBQUEUE" else getattr(settings, name))
    assert get_settings() is not before


def test_all_problems_are_told_at_once(settings: Any) -> None:
    wrong = {"REDIS_URL": "http://x", "CONCURENCY": 5, "LEASE": 1, "QUEUES": ["a b", "c", "d,0"]}
    problems = find_problems(wrong)
    assert [problem.id.rpartition(".")[2] for problem in problems] == [
        "E002",
        "E004",
        "E005",
        "E005",
        "E005",
    ]
    settings.JOBQUEUE = wrong
    with pytest.raises(ImproperlyConfigured) as caught:
        get_settings()
    for problem in problems:
        assert f"({problem.id}) {problem.message} {problem.hint}" in str(caught.value)


def test_wrong_settings_can_be_cured(settings: Any) -> None:
    settings.JOBQUEUE = {"LEASE": "long"}
    with pytest.raises(ImproperlyConfigured):
        get_settings()
    assert read(settings, LEASE=30).lease == 30.0


@pytest.mark.parametrize("raw", [None, "redis://localhost", [("LEASE", 30)]])
def test_something_else_than_a_dict_is_refused(raw: Any) -> None:
    problem = find_problems(raw)[0]
    assert problem.id == "django_jobqueue.E001"
    assert type(raw).__name__ in problem.message


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("CONCURENCY", "CONCURRENCY"),
        ("redis_url", "REDIS_URL"),
        ("QUEUE", "QUEUES"),
        ("SERVER_MIDLEWARE", "SERVER_MIDDLEWARE"),
    ],
)
def test_a_key_that_was_misspelt_is_guessed(key: str, meant: str) -> None:
    problem = problem_of(**{key: 1})
    assert problem == Problem(
        "django_jobqueue.E002",
        f"JOBQUEUE[{key!r}] is no setting of django-jobqueue.",
        f"Did you mean {meant!r}?",
    )


def test_a_key_that_resembles_nothing_gets_the_list() -> None:
    assert "REDIS_URL, KEY_PREFIX, " in problem_of(ZZZ=1).hint
    (problem,) = find_problems({"REDIS_URL": URL, 7: 1})
    assert "JOBQUEUE[7]" in problem.message


# Without a URL


def test_a_project_in_production_needs_a_url(settings: Any) -> None:
    settings.DEBUG = False
    (problem,) = find_problems({})
    assert problem.id == "django_jobqueue.E003"
    assert "'redis://localhost:6379/0'" in problem.hint


def test_a_project_under_development_needs_no_url(settings: Any) -> None:
    settings.DEBUG = True
    assert find_problems({"REDIS_URL": None}) == []


@pytest.mark.parametrize("outlet", ["fake", "inline"])
def test_an_outlet_without_redis_needs_no_url(settings: Any, outlet: str) -> None:
    settings.DEBUG = False
    assert find_problems({"OUTLET": outlet}) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, Path("/srv/shop/.jobqueue")),
        ("var/queue", Path("/srv/shop/var/queue")),
        (Path("/var/queue"), Path("/var/queue")),
    ],
)
def test_the_embedded_servers_data_lie_in_the_project(
    settings: Any, given: str | Path | None, expected: Path
) -> None:
    settings.BASE_DIR = Path("/srv/shop")
    assert read(settings, EMBEDDED_DIR=given).embedded_dir == expected


def test_a_project_without_base_dir_has_them_where_it_was_started(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    del settings.BASE_DIR
    monkeypatch.chdir(tmp_path)
    assert read(settings).embedded_dir == tmp_path / ".jobqueue"


# URLs


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost:6379",
        "redis://localhost/",
        "redis://user:pass@redis.example:6380/15",
        "redis://:p%40ss%2Fw@127.0.0.1:6379/0?db=3&client_name=shop",
        "rediss://user@[::1]:6379/0?ssl_ca_certs=/etc/ca.pem",
        "unix:///run/redis.sock",
        "unix://:pass@/run/redis.sock?db=2",
    ],
)
def test_the_address_of_a_redis_is_accepted(settings: Any, url: str) -> None:
    assert read(settings, REDIS_URL=url).redis_url == url


@pytest.mark.parametrize(
    ("url", "fact"),
    [
        ("", "does not begin with redis://"),
        ("localhost:6379", "does not begin with redis://"),
        ("http://localhost", "does not begin with redis://"),
        ("REDIS://localhost", "does not begin with redis://"),
        ("redis://", "without a host"),
        ("redis:///0", "without a host"),
        ("redis://localhost:port/0", "cannot be made out"),
        ("redis://localhost:99999/0", "cannot be made out"),
        ("redis://[::1/0", "cannot be made out"),
        ("redis://localhost:0/0", "port is 0"),
        ("redis://localhost/main", "path is not the number"),
        ("redis://localhost/0?db=x", "db is not the number"),
        ("redis://local host", "a space or a control character"),
        ("redis://localhost\n", "a space or a control character"),
        ("unix://", "absolute path of a socket"),
        ("unix://run/redis.sock", "absolute path of a socket"),
        (b"redis://localhost", "is of type bytes, not a string"),
        (5, "is of type int, not a string"),
    ],
)
def test_what_is_no_address_of_a_redis_is_refused(url: Any, fact: str) -> None:
    problem = problem_of(REDIS_URL=url)
    assert problem.id == "django_jobqueue.E004"
    assert fact in problem.message
    assert problem.hint


@pytest.mark.parametrize("prefix", ["", "jobs:", "{}:", "jobs}:", "{jobs:", "{}{jobs}:"])
def test_the_keys_of_a_cluster_need_a_hash_tag(settings: Any, prefix: str) -> None:
    url = "redis+cluster://a:7000,b:7000"
    problem = problem_of(REDIS_URL=url, KEY_PREFIX=prefix)
    assert problem.id == "django_jobqueue.E007"
    assert repr(prefix) in problem.message
    assert "'{jobs}:'" in problem.hint
    assert read(settings, REDIS_URL=url, KEY_PREFIX="shop{jobs}:").redis_url == url
    assert read(settings, KEY_PREFIX=prefix).key_prefix == prefix


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:s3cr3t@localhost/0", "redis://:***@localhost/0"),
        ("rediss://app:s3cr3t@localhost/0", "rediss://app:***@localhost/0"),
        ("redis://s3cr3t@localhost/0", "redis://***@localhost/0"),
        ("redis://app:x@s3cr3t@localhost/0", "redis://app:***@localhost/0"),
        ("redis://app:x/s3cr3t@localhost/0", "redis://app:***@localhost/0"),
        ("redis://app:x?s3cr3t@localhost/0", "redis://app:***@localhost/0"),
        ("redis://app:x#s3cr3t@localhost/0", "redis://app:***@localhost/0"),
        ("redis://localhost/0?password=s3cr3t", "redis://localhost/0?password=***"),
        ("redis://localhost/0?db=1&PASSWORD=s3cr3t#x", "redis://localhost/0?db=1&PASSWORD=***"),
        ("redis://localhost/0?pass%77ord=a@s3cr3t", "redis://localhost/0?pass%77ord=***"),
        ("rediss://h/0?ssl_password=s3cr3t&db=1", "rediss://h/0?ssl_password=***&db=1"),
        ("unix://:s3cr3t@/run/redis.sock", "unix://:***@/run/redis.sock"),
        ("app:s3cr3t@localhost", "app:***@localhost"),
        ("redis:/:s3cr3t@localhost", "redis:/:***@localhost"),
    ],
)
def test_a_password_is_hidden(url: str, masked: str) -> None:
    assert mask_url(url) == masked


@pytest.mark.parametrize(
    "url",
    [
        "redis://app:s3cr3t@localhost:port/0",
        "redis://app:s3cr3t/x@localhost/0",
        "redis://app:x/s3cr3t@localhost/0",
        "redis://app:12?s3cr3t@localhost/0",
        "redis://app:12#s3cr3t@localhost/0",
        "redis://app:s3cr3t @localhost/0",
        "redis+sentinel://app:s3cr3t@localhost",
        "amqp://app:s3cr3t@localhost/0",
        "redis://localhost/x?password=s3cr3t",
        b"redis://app:s3cr3t@localhost/0",
        ["redis://app:s3cr3t@localhost/0"],
    ],
)
def test_a_wrong_url_is_told_without_its_password(settings: Any, url: Any) -> None:
    settings.JOBQUEUE = {"REDIS_URL": url}
    with pytest.raises(ImproperlyConfigured) as caught:
        get_settings()
    assert SECRET not in str(caught.value)
    # Nor does the traceback show one that was on the way.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("name", sorted(set(conf._NAMES) - {"EMBEDDED_DIR"}))
@pytest.mark.parametrize(
    "value",
    [
        "redis://app:s3cr3t @localhost",
        "redis://app:x's3cr3t @localhost",
        ["redis://app:s3cr3t@localhost"],
        {"url": "redis://app:s3cr3t@localhost?password=s3cr3t"},
    ],
)
def test_a_url_in_the_wrong_place_is_told_without_its_password(name: str, value: Any) -> None:
    problems = find_problems({"REDIS_URL": URL, name: value})
    assert problems
    assert SECRET not in str(problems)


def test_settings_are_printed_without_the_password(settings: Any) -> None:
    printed = repr(read(settings, REDIS_URL=f"redis://app:{SECRET}@localhost/0"))
    assert SECRET not in printed
    assert "redis_url='redis://app:***@localhost/0'" in printed
    assert "concurrency=10" in printed


# Values


DURATIONS = [option.name for option in conf._OPTIONS if isinstance(option.default, float)]
NUMBERS = [option.name for option in conf._OPTIONS if type(option.default) is int]


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize("value", [90, 90.0, timedelta(minutes=1.5)])
def test_a_duration_is_seconds_inside(settings: Any, name: str, value: Any) -> None:
    seconds = getattr(read(settings, **{name: value}), name.lower())
    assert (type(seconds), seconds) == (float, 90.0)


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize(
    "value",
    [
        True,
        None,
        "60",
        float("nan"),
        float("inf"),
        -1,
        -0.5,
        timedelta(seconds=-1),
        timedelta.max,
        10**400,
        -(10**400),
    ],
)
def test_what_is_no_duration_is_refused(name: str, value: Any) -> None:
    problem = problem_of(**{name: value})
    assert problem.id == "django_jobqueue.E005"
    assert problem.message.startswith(f"JOBQUEUE[{name!r}] is {repr(value)[:200]}")
    assert "timedelta" in problem.hint


def test_a_lease_leaves_time_for_beats(settings: Any) -> None:
    assert "15 seconds or more" in problem_of(LEASE=14.9).message
    assert read(settings, LEASE=15).lease == 15.0


@pytest.mark.parametrize(
    "name", ["SHUTDOWN_TIMEOUT", "UNKNOWN_JOB_RETRY_FOR", "POISON_RETRY_DELAY", "BOOT_TIMEOUT"]
)
def test_some_durations_may_be_zero(settings: Any, name: str) -> None:
    assert getattr(read(settings, **{name: 0}), name.lower()) == 0.0


@pytest.mark.parametrize("name", ["SOCKET_TIMEOUT", "DEAD_MAX_AGE", "POISON_WINDOW"])
def test_other_durations_may_not_be_zero(name: str) -> None:
    assert "more than 0 seconds" in problem_of(**{name: 0}).message


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "value", [True, None, "10", 1.5, -1, pytest.param(-(10**5000), id="endless")]
)
def test_what_is_no_number_is_refused(name: str, value: Any) -> None:
    problem = problem_of(**{name: value})
    assert problem.id == "django_jobqueue.E005"
    assert "whole number" in problem.hint


def test_a_payload_fits_into_redis() -> None:
    assert "from 1 to 536,870,912" in problem_of(MAX_PAYLOAD=2**30).hint


@pytest.mark.parametrize("value", [1, 0, "yes", None])
def test_a_switch_is_true_or_false(value: Any) -> None:
    assert problem_of(ALLOW_EVICTION=value).message.endswith(f"is {value!r}, not a bool.")


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("ACK", "Batch", "batch"),
        ("TIMESTAMPS", "miliseconds", "milliseconds"),
        ("ON_COMMIT_ERRORS", "raises", "raise"),
        ("OUTLET", "Redis", "redis"),
        ("ON_COMMIT", "defualt", "default"),
    ],
)
def test_a_choice_that_was_misspelt_is_guessed(name: str, value: str, meant: str) -> None:
    problem = problem_of(**{name: value})
    assert problem.message == f"JOBQUEUE[{name!r}] is {value!r}."
    assert problem.hint.startswith(f"Did you mean {meant!r}? Set it to ")


@pytest.mark.parametrize("name", ["ACK", "TIMESTAMPS", "ON_COMMIT_ERRORS", "OUTLET", "ON_COMMIT"])
@pytest.mark.parametrize("value", [None, 5, [], "?"])
def test_what_is_no_choice_is_refused(name: str, value: Any) -> None:
    assert problem_of(**{name: value}).id == "django_jobqueue.E005"


@pytest.mark.parametrize("outlet", ["redis", "fake", "inline", "shop.outlets.Recorder"])
def test_an_outlet_is_a_short_name_or_a_dotted_path(settings: Any, outlet: str) -> None:
    assert read(settings, OUTLET=outlet).outlet == outlet


@pytest.mark.parametrize("value", [True, False, "default"])
def test_on_commit_may_name_a_database(settings: Any, value: bool | str) -> None:
    assert read(settings, ON_COMMIT=value).on_commit == value


@pytest.mark.parametrize("prefix", ["", "shop:", "{jq}:", "pâte-"])
def test_a_prefix_is_kept_as_it_is(settings: Any, prefix: str) -> None:
    assert read(settings, KEY_PREFIX=prefix).key_prefix == prefix


@pytest.mark.parametrize("prefix", ["a b", "a\n", "\x00", "a\u00a0", None, 5, b"jq"])
def test_a_prefix_has_no_spaces_and_control_characters(prefix: Any) -> None:
    assert problem_of(KEY_PREFIX=prefix).message == f"JOBQUEUE['KEY_PREFIX'] is {prefix!r}."


@pytest.mark.parametrize("value", ["", 5, b"/tmp", "a\0b"])
def test_what_is_no_directory_is_refused(value: Any) -> None:
    assert problem_of(EMBEDDED_DIR=value).id == "django_jobqueue.E005"


# Lists


def test_queues_may_have_weights(settings: Any) -> None:
    queues = read(settings, QUEUES=("high,5", "default", "a.b-c_D , 2")).queues
    assert queues == (
        WeightedQueue("high", 5),
        WeightedQueue("default", 1),
        WeightedQueue("a.b-c_D", 2),
    )


@pytest.mark.parametrize(
    "entry", ["", "a b", "a:b", "é", "x" * 65, "a,", "a,0", "a,-1", "a,1.5", "a,1,2", "a,9999999"]
)
def test_what_is_no_queue_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"a queue's (name|weight) is"):
        parse_queue(entry)
    problem = problem_of(QUEUES=["fine", entry])
    assert problem.message.startswith(f"JOBQUEUE['QUEUES'][1] is {entry!r}: a queue's ")


def test_a_queue_is_named_once() -> None:
    problem = problem_of(QUEUES=["a,1", "b", "a,2"])
    assert problem.id == "django_jobqueue.E006"
    assert problem.message == "JOBQUEUE['QUEUES'][2] is 'a,2' a second time."


@pytest.mark.parametrize("name", ["CLIENT_MIDDLEWARE", "SERVER_MIDDLEWARE"])
def test_middleware_is_named_by_dotted_paths(settings: Any, name: str) -> None:
    # Whether they import is the system checks' affair.
    paths = ["shop.middleware.Tenant", "shop.middleware.Audit"]
    assert getattr(read(settings, **{name: paths}), name.lower()) == tuple(paths)


@pytest.mark.parametrize("entry", ["", "Tenant", "shop..Tenant", "shop.mid-dle.Tenant", 5, print])
def test_what_is_no_dotted_path_is_refused(entry: Any) -> None:
    problem = problem_of(CLIENT_MIDDLEWARE=["shop.middleware.Tenant", entry])
    assert problem.message == f"JOBQUEUE['CLIENT_MIDDLEWARE'][1] is {entry!r}, not a dotted path."


def test_a_middleware_is_named_once() -> None:
    problem = problem_of(SERVER_MIDDLEWARE=["shop.middleware.Tenant"] * 2)
    assert problem.id == "django_jobqueue.E006"
    assert "[1] is 'shop.middleware.Tenant' a second time" in problem.message


@pytest.mark.parametrize("name", ["QUEUES", "CLIENT_MIDDLEWARE", "SERVER_MIDDLEWARE"])
@pytest.mark.parametrize("value", ["default", None, {"default": 1}, 5])
def test_what_is_no_list_is_refused(name: str, value: Any) -> None:
    assert problem_of(**{name: value}).message == f"JOBQUEUE[{name!r}] is {value!r}, not a list."


def test_a_long_value_is_cut() -> None:
    assert len(problem_of(ACK="x" * 10_000).message) < 300


@pytest.mark.parametrize("module", [conf, validators, redis_url])
def test_settings_are_read_without_redis(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text())
    names = [
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    ]
    assert names
    assert not [name for name in names if name.partition(".")[0] == "redis"]


# What runs again and again


def timetables(settings: Any, **entries: Any) -> tuple[Timetable, ...]:
    return read(settings, PERIODIC=entries).periodic


def test_periodic_jobs_have_their_timetables(settings: Any) -> None:
    nightly, pulse, hourly = timetables(
        settings,
        nightly={
            "job": "reports.jobs.Nightly",
            "cron": "0  3 * * *",
            "tz": "Europe/Paris",
            "args": [1, "x"],
            "missed": "skip",
        },
        pulse={"job": "shop.jobs.Pulse", "every": "30s"},
        hourly={"job": "shop.jobs.Hourly", "every": 3600, "missed": {"backfill": 24}},
    )
    assert nightly == Timetable(
        "nightly",
        "reports.jobs.Nightly",
        cron="0 3 * * *",
        tz="Europe/Paris",
        args=(1, "x"),
        missed="skip",
    )
    assert pulse == Timetable("pulse", "shop.jobs.Pulse", every=30, missed="run")
    assert hourly == Timetable(
        "hourly", "shop.jobs.Hourly", every=3600, missed="backfill", backfill=24
    )


def test_a_reconciler_is_named_by_its_path(settings: Any) -> None:
    path = "backups.jobs.ScheduleBackups"
    assert read(settings, RECONCILERS={path: {"every": "1m"}}).reconcilers == (
        Timetable(path, path, every=60),
    )


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("30s", 30),
        ("1m", 60),
        ("2 h", 7200),
        ("1d", 86_400),
        (90, 90),
        (60.0, 60),
        (timedelta(minutes=5), 300),
    ],
)
def test_every_is_text_or_seconds_or_a_timedelta(settings: Any, given: Any, seconds: int) -> None:
    (entry,) = timetables(settings, often={"job": "shop.jobs.Often", "every": given})
    assert (type(entry.every), entry.every) == (int, seconds)


def timetable_problem(**parts: Any) -> Problem:
    """Return the one problem of an entry of PERIODIC that is right but for these parts."""
    entry = {"job": "shop.jobs.Often", **parts}
    return problem_of(PERIODIC={"often": entry})


@pytest.mark.parametrize(
    "value",
    [
        *("", "1", "m", "-1m", "1w", "1.5h", "0s", "9999999999d"),
        *(0, -1, 0.5, 1.5, float("nan"), float("inf"), True, None, []),
        *(timedelta(milliseconds=1500), timedelta(days=40_000)),
    ],
)
def test_what_is_no_length_of_whole_seconds_is_refused(value: Any) -> None:
    problem = timetable_problem(every=value)
    assert problem.id == "django_jobqueue.E005"
    assert problem.message == (
        f"JOBQUEUE['PERIODIC']['often']['every'] is {value!r}, not a whole number of seconds."
    )


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0 3 * *", "wrong number of fields"),
        ("0 0 3 * * *", "wrong number of fields"),
        ("@daily", "wrong number of fields"),
        ("60 3 * * *", "bad minute"),
        ("0 3 30 2 *", "bad day-of-month"),
        ("0 3 * * MOON", "bad day-of-week"),
        (5, "wrong number of fields"),
        (None, "wrong number of fields"),
    ],
)
def test_what_is_no_cron_line_is_refused(line: Any, why: str) -> None:
    problem = timetable_problem(cron=line)
    assert problem.message == f"JOBQUEUE['PERIODIC']['often']['cron'] is {line!r}: {why}."
    assert "'0 3 * * *'" in problem.hint


def test_a_cron_line_that_never_comes_is_refused() -> None:
    problem = timetable_problem(cron="0 0 */3 2 MON#5")
    assert "['cron'] is '0 0 */3 2 MON#5', which never comes." in problem.message


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "Europe", "/etc/passwd", "../Paris", 1, None])
def test_what_is_no_zone_is_refused(zone: Any) -> None:
    problem = timetable_problem(cron="0 3 * * *", tz=zone)
    assert problem.message == (
        f"JOBQUEUE['PERIODIC']['often']['tz'] is {zone!r}, no time zone known here."
    )


@pytest.mark.parametrize("value", ["never", None, 5, {}, {"backfil": 3}, {"backfill": 1, "x": 2}])
def test_what_is_no_policy_for_missed_slots_is_refused(value: Any) -> None:
    problem = timetable_problem(every=60, missed=value)
    assert problem.message == f"JOBQUEUE['PERIODIC']['often']['missed'] is {value!r}."
    assert "'run' or 'skip', or to {'backfill': 24}" in problem.hint


@pytest.mark.parametrize("value", [0, -1, 1001, True, "24"])
def test_a_backfill_has_its_bounds(value: Any) -> None:
    problem = timetable_problem(every=60, missed={"backfill": value})
    assert problem.message == (f"JOBQUEUE['PERIODIC']['often']['missed']['backfill'] is {value!r}.")


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"job": "shop.jobs.Often"}, " has neither every nor cron"),
        (
            {"job": "shop.jobs.Often", "every": 60, "cron": "* * * * *"},
            " has both every and cron",
        ),
        ({"every": 60}, " has no job"),
        ({"job": "shop.jobs.Often", "every": 60, "tz": "UTC"}, " has a tz and no cron"),
        ({"job": "Often", "every": 60}, "['job'] is 'Often', not a dotted path"),
        ({"job": "shop.jobs.Often", "every": 60, "args": "x"}, "['args'] is 'x', not a list"),
        ("shop.jobs.Often", " is 'shop.jobs.Often', not a dict"),
    ],
)
def test_what_is_no_entry_is_refused(entry: Any, complaint: str) -> None:
    message = problem_of(PERIODIC={"often": entry}).message
    assert message.startswith(f"JOBQUEUE['PERIODIC']['often']{complaint}")


@pytest.mark.parametrize(
    ("setting", "key", "guess"),
    [("PERIODIC", "Every", "every"), ("PERIODIC", "arg", "args"), ("RECONCILERS", "corn", "cron")],
)
def test_a_part_that_was_misspelt_is_guessed(setting: str, key: str, guess: str) -> None:
    name = "often" if setting == "PERIODIC" else "shop.jobs.Often"
    parts: dict[str, Any] = {"job": "shop.jobs.Often"} if setting == "PERIODIC" else {}
    parts |= {"every": 60} if guess == "cron" else {"cron": "* * * * *"}
    problem = problem_of(**{setting: {name: {**parts, key: 1}}})
    assert problem.id == "django_jobqueue.E002"
    assert problem.message == f"JOBQUEUE[{setting!r}][{name!r}][{key!r}] is no setting."
    assert problem.hint.startswith(f"Did you mean {guess!r}? There are ")


@pytest.mark.parametrize("key", ["job", "args", "missed"])
def test_a_reconciler_has_no_such_part(key: str) -> None:
    problem = problem_of(RECONCILERS={"shop.jobs.Heal": {"every": 60, key: "run"}})
    assert problem.id == "django_jobqueue.E002"


@pytest.mark.parametrize("name", ["", "a b", "a.b", "é", "a\n", "x" * 201, 5, None])
def test_what_is_no_name_of_a_periodic_job_is_refused(name: Any) -> None:
    problem = problem_of(PERIODIC={name: {"job": "shop.jobs.Often", "every": 60}})
    assert problem.id == "django_jobqueue.E005"
    assert problem.message.endswith("] is no name.")


@pytest.mark.parametrize("path", ["Heal", "a..b", "shop." + "x" * 200, 5])
def test_what_is_no_path_of_a_reconciler_is_refused(path: Any) -> None:
    problem = problem_of(RECONCILERS={path: {"every": 60}})
    assert "not a dotted path of at most 200 characters" in problem.message


def test_names_differ_in_more_than_capitals() -> None:
    entry = {"job": "shop.jobs.Often", "every": 60}
    problem = problem_of(PERIODIC={"often": entry, "Often": entry})
    assert problem.id == "django_jobqueue.E006"
    assert problem.message == (
        "JOBQUEUE['PERIODIC']['Often'] differs from 'often' in nothing but capitals."
    )


@pytest.mark.parametrize("name", ["PERIODIC", "RECONCILERS"])
@pytest.mark.parametrize("value", [["a.b.C"], "a.b.C", None, 5])
def test_what_is_no_dict_of_timetables_is_refused(name: str, value: Any) -> None:
    assert problem_of(**{name: value}).message == f"JOBQUEUE[{name!r}] is {value!r}, not a dict."


def test_all_that_is_wrong_with_timetables_is_told_at_once() -> None:
    problems = find_problems(
        {
            "REDIS_URL": URL,
            "PERIODIC": {
                "a b": {"job": "Often", "every": "often", "args": 1, "missed": 1, "when": 1},
                "nightly": {"cron": "0 3", "tz": "Nowhere"},
            },
            "RECONCILERS": {"Heal": {}},
        }
    )
    assert [problem.message.partition(" is ")[0].partition(" has ")[0] for problem in problems] == [
        "JOBQUEUE['PERIODIC']['a b']",
        "JOBQUEUE['PERIODIC']['a b']['job']",
        "JOBQUEUE['PERIODIC']['a b']['every']",
        "JOBQUEUE['PERIODIC']['a b']['args']",
        "JOBQUEUE['PERIODIC']['a b']['missed']",
        "JOBQUEUE['PERIODIC']['a b']['when']",
        "JOBQUEUE['PERIODIC']['nightly']",
        "JOBQUEUE['PERIODIC']['nightly']['cron']",
        "JOBQUEUE['PERIODIC']['nightly']['tz']",
        "JOBQUEUE['RECONCILERS']['Heal']",
        "JOBQUEUE['RECONCILERS']['Heal']",
    ]


# What is shown to nobody -------------------------------------------------------------


def test_names_to_redact_are_regular_expressions_in_the_place_of_the_defaults(
    settings: Any,
) -> None:
    assert "password" in read(settings).redact
    assert read(settings, REDACT=["iban", "card_?no"]).redact == ("iban", "card_?no")
    assert read(settings, REDACT=[]).redact == ()


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("password", "is 'password', not a list"),
        ([7], "[0] is 7"),
        (["a(b"], "[0] is 'a(b', no regular expression"),
        (["a)|(b"], "[0] is 'a)|(b', no regular expression"),
        (["(?i)iban"], "[0] is '(?i)iban', no regular expression"),
        ([""], "[0] is '', which matches every name"),
        (["ok", ".*"], "[1] is '.*', which matches every name"),
        (["ok", "ok"], "[1] is 'ok' a second time"),
    ],
)
def test_what_names_nothing_to_redact_is_refused(value: Any, complaint: str) -> None:
    assert problem_of(REDACT=value).message.startswith(f"JOBQUEUE['REDACT']{_spaced(complaint)}")


def _spaced(complaint: str) -> str:
    return complaint if complaint.startswith("[") else f" {complaint}"


def test_a_token_for_metrics_is_kept_and_never_printed(settings: Any) -> None:
    token = f"{SECRET}-{SECRET}-{SECRET}"
    found = read(settings, METRICS_TOKEN=token)
    assert found.metrics_token == token
    assert "metrics_token=***" in repr(found)
    assert SECRET not in repr(found)
    assert read(settings, METRICS_TOKEN=None).metrics_token is None


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        "",
        SECRET.encode() * 5,
        7,
        f"{SECRET} {SECRET} {SECRET}",
        f"{SECRET * 3}\n",
        "ä" * 16,
    ],
    ids=repr,
)
def test_a_token_that_can_be_guessed_or_sent_by_nobody_is_refused_untold(value: Any) -> None:
    problem = problem_of(METRICS_TOKEN=value)
    assert "16 characters or more" in problem.hint
    assert SECRET not in problem.message + problem.hint


#: Two keys of Fernet that open nothing.
FERNET = [
    "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYzE=",
    b"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYzI=",
]

LONG = f"{SECRET}-" * 5


@pytest.mark.parametrize(
    ("name", "value"),
    [("SIGNING_KEYS", [LONG, f"{LONG}2".encode()]), ("ENCRYPTION_KEYS", FERNET)],
)
def test_keys_are_kept_as_bytes_in_their_order_and_never_printed(
    settings: Any, name: str, value: list[Any]
) -> None:
    found = read(settings, **{name: value})
    kept = getattr(found, name.lower())
    assert kept == tuple(v.encode() if isinstance(v, str) else v for v in value)
    assert f"{name.lower()}=***" in repr(found)
    assert SECRET not in repr(found)
    assert "c2Vjc" not in repr(found)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("SIGNING_KEYS", LONG, " is of type str, not a list"),
        ("SIGNING_KEYS", None, " is of type NoneType, not a list"),
        ("SIGNING_KEYS", [LONG, SECRET], "[1] has 6 characters"),
        ("SIGNING_KEYS", [LONG, ""], "[1] has 0 characters"),
        ("SIGNING_KEYS", [7], "[0] is of type int"),
        ("SIGNING_KEYS", [LONG, LONG], "[1] is the same as [0]"),
        ("SIGNING_KEYS", [LONG, LONG.encode()], "[1] is the same as [0]"),
        ("ENCRYPTION_KEYS", {LONG: 1}, " is of type dict, not a list"),
        ("ENCRYPTION_KEYS", [LONG], "[0] is no key of Fernet"),
        ("ENCRYPTION_KEYS", ["c2VjcmV0"], "[0] is no key of Fernet"),
        ("ENCRYPTION_KEYS", ["\ud800" * 44], "[0] is no key of Fernet"),
        ("ENCRYPTION_KEYS", [FERNET[0], FERNET[0]], "[1] is the same as [0]"),
    ],
)
def test_keys_that_cannot_be_are_refused_untold(name: str, value: Any, complaint: str) -> None:
    problem = problem_of(**{name: value})
    assert problem.message.startswith(f"JOBQUEUE[{name!r}]{complaint}")
    assert SECRET not in problem.message + problem.hint
    assert "c2Vjc" not in problem.message + problem.hint


def test_short_secrets_in_a_key_of_bytes_or_text_are_told_all_at_once() -> None:
    problems = find_problems({"REDIS_URL": URL, "SIGNING_KEYS": ["a", b"b", LONG]})
    assert [each.message[:26] for each in problems] == [
        "JOBQUEUE['SIGNING_KEYS'][0", "JOBQUEUE['SIGNING_KEYS'][1",
    ]  # fmt: skip
