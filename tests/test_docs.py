"""The documents name what there is, and nothing that there is not."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import textwrap
from importlib import import_module
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from django_jobqueue import Job, conf
from django_jobqueue.management import subcommands
from django_jobqueue.reconciliation import Reconciler

PROJECT = Path(__file__).resolve().parent.parent
DOCS = PROJECT / "docs"
DOCUMENTS = sorted(PROJECT.glob("*.rst")) + sorted(DOCS.glob("*.rst"))

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def terms(*names: str) -> set[str]:
    """Return what these documents explain: the terms of their definition lists."""
    return {
        term
        for name in names
        for line in re.findall(r"^(``.*)\n {4}\S", (DOCS / name).read_text(), re.MULTILINE)
        for term in re.findall(r"``(\w+)(?:\(self[^)]*\))?``", line)
    }


def options_of(cls: type) -> set[str]:
    """Return the options that a class declares."""
    return {name for name in inspect.get_annotations(cls) if re.fullmatch(r"[a-z]\w*", name)}


def blocks(document: Path, language: str) -> list[str]:
    """Return the code blocks of a document."""
    # As far as it is indented like its first line: in a list, text may follow.
    block = rf"^ *\.\. code-block:: {language}\n\n(( +)\S.*\n(?:\2.*\n|\n)*)"
    found = re.findall(block, document.read_text(), re.MULTILINE)
    return [textwrap.dedent(text) for text, _ in found]


# What is explained ----------------------------------------------------------------


def test_every_setting_is_documented_and_no_other() -> None:
    assert terms("settings.rst") == {name.upper() for name in conf.Settings.__dataclass_fields__}


def test_every_option_of_a_job_is_documented_once_and_no_other() -> None:
    found = [terms("options.rst"), terms("unique-jobs.rst"), terms("kill-switches.rst")]
    documented = {term for each in found for term in each if term.islower()}
    assert sum(map(len, found)) == len(set.union(*found))
    assert documented == options_of(Job) - {"definitions"} | {"bypass_kill_switch"}


def test_every_option_of_a_reconciler_is_documented_and_no_other() -> None:
    assert terms("self-healing.rst") == options_of(Reconciler) | {"get_queryset", "args_for"}


def test_every_key_of_the_kill_switch_setting_is_documented_and_no_other() -> None:
    documented = {term for term in terms("kill-switches.rst") if term.isupper()}
    assert documented == {name.upper() for name in conf.KillSwitchPolicy.__dataclass_fields__}


def test_every_system_check_is_documented_and_no_other() -> None:
    raised = {
        name
        for module in (PROJECT / "django_jobqueue").rglob("*.py")
        for name in re.findall(r"django_jobqueue\.([EWI]\d{3})\b", module.read_text())
    }
    listed = re.findall(r"^``([EWI]\d{3})``", (DOCS / "checks.rst").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(raised)
    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"``([EWI]\d{3})``", document.read_text())
    }
    assert named == raised


# What is shown --------------------------------------------------------------------


@each_document
def test_commands_that_are_shown_can_be_given(document: Path) -> None:
    for block in blocks(document, "console"):
        for line in re.findall(r"^\$ python manage\.py (.*)", block, re.MULTILINE):
            name, *words = shlex.split(line, comments=True)
            command = load_command_class(get_commands()[name], name)
            # Raises CommandError for what it does not take.
            command.create_parser("manage.py", name).parse_args(words)


@each_document
def test_subcommands_that_are_named_exist(document: Path) -> None:
    known = {path.stem for path in Path(subcommands.__path__[0]).glob("[a-z]*.py")}
    for name in re.findall(r"``(?:manage\.py )?jobqueue\s+(\w+)", document.read_text()):
        assert name in known


@each_document
def test_python_that_is_shown_can_be_read_and_its_imports_exist(document: Path) -> None:
    for block in blocks(document, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("django_jobq"):
                module = import_module(str(node.module))
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


@each_document
def test_links_to_files_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"<([^<>:\s]+\.(?:rst|md|py))>`_", document.read_text()):
        assert (document.parent / target).is_file(), target


def test_every_document_can_be_found_from_the_readme() -> None:
    seen: set[Path] = set()
    ahead = [PROJECT / "README.rst"]
    while ahead:
        document = ahead.pop()
        seen.add(document)
        links = re.findall(r"<([^<>:\s]+\.rst)>`_", document.read_text())
        ahead += {(document.parent / link).resolve() for link in links} - seen
    assert set(DOCUMENTS) <= seen


def test_the_readme_shows_a_job_by_line_40_and_stays_short() -> None:
    lines = (PROJECT / "README.rst").read_text().splitlines()
    assert any("perform_async(7)" in line for line in lines[:40])
    assert len(lines) < 250
