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

from django_jobqueue import api, checks, conf
from django_jobqueue.job.declaration import JobOptions
from django_jobqueue.management import subcommands
from django_jobqueue.reconciliation import Reconciler
from django_jobqueue.store.keys import Keys

PROJECT = Path(__file__).resolve().parent.parent
DOCS = PROJECT / "docs"
#: The manual; what Sphinx has built of it stands beside it.
PAGES = sorted(path for path in DOCS.rglob("*.rst") if DOCS / "_build" not in path.parents)
DOCUMENTS = sorted(PROJECT.glob("*.rst")) + PAGES

each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT))
)


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


def links(document: Path) -> set[Path]:
    """Return the files that a document links to, or lists as its parts."""
    text = document.read_text()
    found = {document.parent / link for link in re.findall(r"<([^<>:\s]+\.(?:rst|md|py))>`_", text)}
    pages = re.findall(r":doc:`(?:[^`<]*<)?/([^`<>]+)>?`", text)
    for entries in re.findall(
        r"^\.\. toctree::\n(?: +:.*\n)*\n((?: +\S.*\n)+)", text, re.MULTILINE
    ):
        pages += entries.split()
    return {path.resolve() for path in found | {DOCS / f"{page}.rst" for page in pages}}


def reached_from(start: Path) -> set[Path]:
    """Return all documents that links lead to, one after the other."""
    seen: set[Path] = set()
    ahead = {start}
    while ahead:
        seen |= ahead
        found = {link for each in ahead if each.suffix == ".rst" for link in links(each)}
        ahead = {link for link in found if link.is_file()} - seen
    return seen


# What is explained ----------------------------------------------------------------


def test_every_setting_is_documented_and_no_other() -> None:
    assert terms("reference/settings.rst") == {
        name.upper() for name in conf.Settings.__dataclass_fields__
    }


def test_every_option_of_a_job_is_documented_once_and_no_other() -> None:
    pages = ("reference/options.rst", "howto/unique-jobs.rst", "howto/kill-switches.rst")
    found = [terms(page) for page in pages]
    documented = {term for each in found for term in each if term.islower()}
    assert sum(map(len, found)) == len(set.union(*found))
    assert documented == options_of(JobOptions) | {"bypass_kill_switch"}


def test_every_option_of_a_reconciler_is_documented_and_no_other() -> None:
    assert terms("howto/self-healing.rst") == options_of(Reconciler) | {"get_queryset", "args_for"}


def test_every_key_of_the_kill_switch_setting_is_documented_and_no_other() -> None:
    documented = {term for term in terms("howto/kill-switches.rst") if term.isupper()}
    assert documented == {name.upper() for name in conf.KillSwitchPolicy.__dataclass_fields__}


def test_every_system_check_is_documented_and_no_other() -> None:
    raised = {
        name
        for module in (PROJECT / "django_jobqueue").rglob("*.py")
        for name in re.findall(r"django_jobqueue\.([EWI]\d{3})\b", module.read_text())
    }
    # The manual shows the table that stands there.
    listed = re.findall(r"^([EWI]\d{3})  ", checks.__doc__ or "", re.MULTILINE)
    assert sorted(listed) == sorted(raised)
    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"``([EWI]\d{3})``", document.read_text())
    }
    assert named <= raised


def test_every_name_of_the_inspection_api_is_described_and_no_other() -> None:
    page = (DOCS / "reference" / "inspection.rst").read_text()
    assert sorted(re.findall(r"auto(?:class|function):: (\w+)", page)) == sorted(api.__all__)


def test_every_key_in_redis_is_documented_and_no_other() -> None:
    keys = Keys()
    # Fixed ones are attributes; the others are made by methods that begin with the type.
    names = {value for value in vars(keys).values() if value and not value.endswith(":")}
    for method in vars(Keys).values():
        doc = inspect.getdoc(method) or ""
        if inspect.isfunction(method) and re.match(r"(STRING|LIST|HASH|ZSET|BITFIELD)\b", doc):
            parameters = [name.upper() for name in list(inspect.signature(method).parameters)[1:]]
            if method is not Keys.sorted_set:
                names.add(method(keys, *parameters).replace("JOB_CLASS", "CLASS"))
    page = (DOCS / "reference" / "redis-keys.rst").read_text()
    assert set(re.findall(r"^``(\S+)``  ", page, re.MULTILINE)) == names


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
    for target in links(document):
        assert target.is_file(), target


def test_every_document_can_be_found_from_the_readme() -> None:
    assert reached_from(PROJECT / "README.rst") >= set(DOCUMENTS)


def test_every_page_stands_in_the_contents_of_the_manual() -> None:
    assert DOCS / "index.rst" in links(PROJECT / "README.rst")
    assert links(DOCS / "index.rst") == set(PAGES) - {DOCS / "index.rst"}


def test_the_readme_shows_a_job_by_line_40_and_stays_short() -> None:
    lines = (PROJECT / "README.rst").read_text().splitlines()
    assert any("perform_async(7)" in line for line in lines[:40])
    assert len(lines) < 250
