"""What an operator asks for from a shell: exit codes, lines for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from django_jobqueue.connection import store
from django_jobqueue.models import ReconcilerState
from django_jobqueue.reconciliation import run as run_room
from tests.conftest import JobqueueSettings
from tests.healing.jobs import OrderJob, ScheduleOrders, ScheduleVouchers
from tests.healing.models import Order, Voucher
from tests.support.inside import Inside

pytestmark = pytest.mark.usefixtures("queue")

ORDERS = "tests.healing.jobs.ScheduleOrders"


def jobqueue(*words: str) -> tuple[int, str]:
    """Run ``manage.py jobqueue``; return its exit code and what it printed."""
    out = StringIO()
    try:
        call_command("jobqueue", *words, stdout=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    return 0, out.getvalue()


def facts(*words: str) -> tuple[int, list[dict[str, Any]]]:
    code, text = jobqueue(*words, "--json")
    return code, [json.loads(line) for line in text.splitlines()]


def make_orders(*keys: int) -> None:
    Order.objects.bulk_create([Order(pk=key) for key in keys])


# reconcile --------------------------------------------------------------------


def test_reconcile_runs_here_and_tells_what_it_did(inside: Inside) -> None:
    make_orders(1, 2)
    code, text = jobqueue("reconcile", "ScheduleOrders")
    assert code == 0
    assert text.startswith(
        f"{ORDERS}: done: 2 found, 2 enqueued, 0 queued already, 0 cooling down, 0 refused, "
        "0 with errors, in "
    )
    assert inside.args("orders") == [[1], [2]]
    assert ReconcilerState.objects.get(name=ORDERS).status == "done"
    code, (report,) = facts("reconcile", ORDERS)
    assert code == 0
    assert (report["name"], report["status"]) == (ORDERS, "done")
    assert (report["found"], report["pushed"], report["duplicates"]) == (2, 0, 2)


def test_reconcile_all_runs_every_one_of_them(inside: Inside) -> None:
    make_orders(1)
    Voucher.objects.create(code="x")
    code, reports = facts("reconcile", "--all")
    assert code == 0
    assert {ORDERS, "tests.healing.jobs.ScheduleVouchers"} <= {each["name"] for each in reports}
    assert inside.args("orders") == [[1]]
    assert inside.args("vouchers") == [["x"]]


@pytest.mark.parametrize("words", [[], ["ScheduleOrders", "--all"]])
def test_reconcile_wants_names_or_all(words: list[str]) -> None:
    with pytest.raises(CommandError, match="Name the reconcilers, or say --all"):
        jobqueue("reconcile", *words)


@pytest.mark.parametrize("command", ["reconcile", "drift", "drill"])
def test_a_wrong_name_is_guessed(command: str) -> None:
    with pytest.raises(CommandError, match="Did you mean 'ScheduleOrders'"):
        jobqueue(command, "ScheduleOrder")


def test_a_run_that_fails_is_told_and_the_others_run(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    Voucher.objects.create(code="x")
    monkeypatch.setattr(ScheduleOrders, "get_queryset", lambda self: 1 / 0)
    code, text = jobqueue("reconcile", "ScheduleOrders", "ScheduleVouchers")
    assert code == 1
    assert f"{ORDERS}: failed: division by zero" in text
    assert inside.args("vouchers") == [["x"]]
    code, (failed, _) = facts("reconcile", "ScheduleOrders", "ScheduleVouchers")
    assert code == 1
    assert (failed["status"], failed["error"]) == ("failed", "division by zero")


def test_a_partial_run_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    make_orders(1)
    epochs = iter(["a", "b", "b", "b"])
    monkeypatch.setattr(run_room.Run, "_epoch", lambda self: next(epochs))
    code, (report,) = facts("reconcile", "ScheduleOrders")
    assert (code, report["status"], report["duplicates"]) == (0, "done", 1)


def test_errors_of_rows_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    make_orders(1)

    def args_for(self: Any, row: Any) -> Any:
        raise ValueError("this row is broken")

    monkeypatch.setattr(ScheduleOrders, "args_for", args_for)
    code, text = jobqueue("reconcile", "ScheduleOrders")
    assert code == 0
    assert "1 with errors" in text
    assert "ValueError: this row is broken" in text
    assert "ValueError: this row is broken" in jobqueue("reconcile", "--dry-run", "--all")[1]


def test_an_exact_run_believes_no_lock(inside: Inside) -> None:
    make_orders(1)
    OrderJob.set(on_commit=False).perform_async(1)
    inside.client.delete(inside.key("queue:orders"))
    assert facts("reconcile", "ScheduleOrders")[1][0]["pushed"] == 0
    assert facts("reconcile", "ScheduleOrders", "--exact")[1][0]["pushed"] == 1


def test_a_dry_run_pushes_nothing_and_says_by_its_exit_code_that_it_would(
    inside: Inside,
) -> None:
    make_orders(1, 2)
    OrderJob.set(on_commit=False).perform_async(1)
    code, text = jobqueue("reconcile", "ScheduleOrders", "--dry-run")
    assert code == 3
    assert text == (
        f"{ORDERS}: 2 found, 1 queued already, 0 cooling down, 0 with errors, "
        "1 would be enqueued; heals never by itself\n"
    )
    code, (seen,) = facts("reconcile", "ScheduleOrders", "--dry-run")
    assert (code, seen["found"], seen["queued"], seen["would_enqueue"]) == (3, 2, 1, 1)
    assert inside.args("orders") == [[1]]
    assert not ReconcilerState.objects.exists()
    jobqueue("reconcile", "ScheduleOrders")
    assert jobqueue("reconcile", "ScheduleOrders", "--dry-run")[0] == 0


def test_a_dry_run_knows_the_timetable(settings: Any) -> None:
    settings.JOBQUEUE = {**settings.JOBQUEUE, "RECONCILERS": {ORDERS: {"every": "1m"}}}
    make_orders(1)
    _, (seen,) = facts("reconcile", "ScheduleOrders", "--dry-run")
    assert 0 < seen["heals_in"] <= 61


def test_explain_prints_how_the_database_plans_a_page(inside: Inside) -> None:
    make_orders(1)
    code, text = jobqueue("reconcile", "ScheduleOrders", "--explain")
    assert code == 0
    assert text.startswith(f"{ORDERS}:\n")
    assert len(text.splitlines()) > 1
    assert facts("reconcile", "ScheduleOrders", "--explain")[1][0]["plan"]
    assert inside.args("orders") == []


def test_reconcilers_are_listed_with_how_they_stand(
    jobqueue_settings: JobqueueSettings, monkeypatch: pytest.MonkeyPatch, inside: Inside
) -> None:
    jobqueue_settings(RECONCILERS={ORDERS: {"every": "1m"}})
    make_orders(1)
    jobqueue("reconcile", "ScheduleOrders")
    monkeypatch.setattr(ScheduleVouchers, "job", None)
    code, text = jobqueue("reconcile", "--list")
    lines = text.splitlines()
    assert code == 0
    assert lines[0].split()[:4] == ["RECONCILER", "STATUS", "SUCCEEDED", "NEXT"]
    (orders,) = (line for line in lines if line.startswith(ORDERS))
    assert orders.split()[1] == "done"
    assert orders.endswith("tests.healing.jobs.OrderJob")
    assert any("never ran" in line and "not listed" in line for line in lines)
    assert any("VoucherJob has no reconciler" in line for line in lines)
    code, text = jobqueue("reconcile", "--list", "--json")
    found = json.loads(text)
    assert {each["status"] for each in found["reconcilers"] if each["name"] == ORDERS} == {"done"}
    assert inside.args("orders") == [[1]]


# drift ------------------------------------------------------------------------


def test_drift_is_told_and_is_an_exit_code() -> None:
    make_orders(7, 8)
    OrderJob.set(on_commit=False).perform_async(8)
    code, text = jobqueue("drift", "ScheduleOrders")
    assert code == 3
    assert text == (
        f"{ORDERS}: 2 expected, 1 in Redis, 1 missing (pk 7), 0 duplicated, 0 surplus, "
        "0 cooling down, 0 with errors\n"
    )
    jobqueue("reconcile", "ScheduleOrders")
    code, (found,) = facts("drift", "ScheduleOrders")
    assert (code, found["missing"], found["is_zero"]) == (0, 0, True)


def test_drift_without_names_is_that_of_all() -> None:
    Voucher.objects.create(code="x")
    code, found = facts("drift")
    assert code == 3
    missing = {each["name"]: each["missing"] for each in found}
    assert missing[f"tests.healing.jobs.{ScheduleVouchers.__name__}"] == 1
    assert missing[ORDERS] == 0


# drill ------------------------------------------------------------------------


@pytest.fixture
def worker_is_there(queue: None) -> None:
    """Somebody has a lease, as if a worker ran."""
    store().claims.join("host:1:0123456789ab", 60.0)


def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def answer(word: str) -> None:
        monkeypatch.setattr("builtins.input", lambda prompt: word)

    return answer


def test_a_drill_without_workers_is_refused(inside: Inside) -> None:
    make_orders(1)
    OrderJob.set(on_commit=False).perform_async(1)
    with pytest.raises(CommandError, match="no worker runs"):
        jobqueue("drill", "ScheduleOrders", "--yes")
    assert inside.args("orders") == [[1]]


@pytest.mark.usefixtures("worker_is_there")
def test_a_drill_removes_nothing_until_the_prefix_is_typed(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    OrderJob.set(on_commit=False).perform_async(1)
    answers(monkeypatch)("yes")
    with pytest.raises(CommandError, match="Nothing was done"):
        jobqueue("drill", "ScheduleOrders")
    assert inside.args("orders") == [[1]]
    answers(monkeypatch)(inside.prefix)
    code, text = jobqueue("drill", "ScheduleOrders")
    assert code == 0
    assert text.startswith("This removes ")
    assert "Healed 0.0 s after" in text
    assert inside.args("orders") == []


@pytest.mark.usefixtures("worker_is_there")
def test_a_drill_that_heals_not_in_time_says_so() -> None:
    make_orders(1)
    code, (report,) = facts("drill", "ScheduleOrders", "--yes", "--timeout", "0")
    assert code == 1
    assert report["seconds"] is None
    assert report["erased"] >= 1
    assert report["drifts"][0]["missing"] == 1
    store().claims.join("host:1:0123456789ab", 60.0)
    code, text = jobqueue("drill", "ScheduleOrders", "--yes", "--timeout", "0")
    assert code == 1
    assert text.endswith("Not healed within 0 s.\n")
