"""
A worker is killed at every step of its life, and nothing is lost, doubled or left behind.

The processes that fork and kill are no pytest: each part of the enumeration is one
``python -m tests.crash``.
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest

from tests.crash.report import Report
from tests.support.processes import Process

#: Parts of the enumeration: so many test processes can share it.
PARTS = 3

#: Seconds for one part on a machine that is busy.
PATIENCE = 280

#: What a life must have come by, or it shows too little.
MUST_BE_THERE = {
    "EVALSHA step", "EVALSHA beat", "EVALSHA renew", "EVALSHA recover", "EVALSHA promote",
    "EVALSHA enqueue", "EVALSHA start", "EVALSHA allow", "EVALSHA forget", "EVALSHA leave",
    "EVALSHA switches", "EVALSHA lead", "EVALSHA due", "BLMOVE", "BLMOVE answers", "SADD+LPUSH",
}  # fmt: skip


def crash(
    directory: Path, *, part: int = 1, parts: int = 1, steps: bool = False, **counts: int
) -> Report:
    """Run ``python -m tests.crash`` with no more than what is asked for; return what it found."""
    found = directory / "found.json"
    command = [sys.executable, "-m", "tests.crash", "--json", str(found)]
    command += ("--part", f"{part}/{parts}", *(() if steps else ("--no-steps",)))
    for name, count in {"twice": 0, "threads": 0, "runjobs": 0, **counts}.items():
        command += (f"--{name}", str(count))
    with Process(command, directory / "output") as process:
        code = process.wait(PATIENCE)
        output = process.output()
    assert found.exists(), output
    sys.stdout.write(output)  # the table, with -rA; and the seed
    report = Report.from_json(json.loads(found.read_text()))
    assert code == bool(report.bad)
    assert not report.bad, "\n".join(map(str, report.bad))
    return report


@pytest.mark.parametrize("part", range(1, PARTS + 1))
def test_a_crash_at_each_step_loses_nothing_and_doubles_nothing(part: int, tmp_path: Path) -> None:
    report = crash(tmp_path, part=part, parts=PARTS, steps=True, seed=0)
    assert set(report.steps) >= MUST_BE_THERE
    # Whoever did not come so far was not killed, and shows nothing.
    assert report.crashes == len(report.outcomes) >= len(report.steps) // PARTS


def test_a_crash_of_the_worker_that_comes_after_a_crash_loses_nothing(tmp_path: Path) -> None:
    assert crash(tmp_path, twice=12).crashes == 12


def test_a_crash_of_a_worker_with_all_its_threads_loses_nothing(tmp_path: Path) -> None:
    assert crash(tmp_path, threads=12).crashes == 12


def test_a_crash_of_a_child_of_runjobs_loses_nothing(tmp_path: Path) -> None:
    assert crash(tmp_path, runjobs=4).crashes == 4


def sabotages() -> list[str]:
    """Return the names of all faults, read from the source: its imports need another Django."""
    tree = ast.parse(Path(__file__).with_name("sabotage.py").read_text())
    return [
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Sabotage"
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    ]


@pytest.mark.parametrize("fault", sabotages())
def test_a_protocol_that_is_broken_on_purpose_is_found_out(fault: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.crash", "--fault", fault]
    with Process(command, tmp_path / "output") as process:
        assert process.wait(PATIENCE) == 0, process.output()
        assert "crash after call" in process.output() or "crash within" in process.output()
