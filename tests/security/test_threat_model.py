"""The threat model of the manual: each defence names tests, and each of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "explanation" / "security.rst").read_text()

#: What the page says of each defence, by its number.
SECTIONS = dict(
    re.findall(r"^\*\*S(\d+)\. (.*?)(?=^\*\*S\d+\. |\Z)", PAGE, re.MULTILINE | re.DOTALL)
)

#: What it names, each a file and a function.
NAMED = re.findall(r"``(tests/[\w/]+\.py)::(test_\w+)``", PAGE)


def test_every_defence_is_told_in_order_and_shown_by_a_test() -> None:
    assert list(SECTIONS) == [str(number) for number in range(1, 18)]
    for number, text in SECTIONS.items():
        assert re.search(r"``tests/[\w/]+\.py::test_\w+``", text), number


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_is_there_and_asserts_something(file: str, name: str) -> None:
    tree = ast.parse((PROJECT / file).read_text())
    functions = {
        node.name: node
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert name in functions
    words = {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(functions[name])
        if isinstance(node, (ast.Name, ast.Attribute))
    }
    has_assert = any(isinstance(node, ast.Assert) for node in ast.walk(functions[name]))
    assert has_assert or any(w == "raises" or w.startswith(("assert", "run_and")) for w in words)


def test_no_other_line_looks_like_the_name_of_a_test() -> None:
    assert len(NAMED) == len(set(NAMED)) == PAGE.count("::test_")


def test_every_test_of_this_room_shows_a_defence() -> None:
    ours = {f"tests/security/{path.name}" for path in Path(__file__).parent.glob("test_*.py")}
    assert ours == {file for file, _ in NAMED if file.startswith("tests/security/")}


def test_who_finds_a_fault_learns_whom_to_tell_and_when_he_is_answered() -> None:
    text = " ".join((PROJECT / "SECURITY.md").read_text().split())
    assert "privately" in text
    assert re.search(r"answer within \d+ hours", text)
    assert re.search(r"within \d+ days", text)
