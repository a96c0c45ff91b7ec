"""What the package itself must never do, read off its source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import django_jobqueue

PACKAGE = Path(django_jobqueue.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

#: Modules that turn bytes into objects or code of any kind.
FORBIDDEN_MODULES = {
    "pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle",
    "yaml", "ruamel", "msgpack", "code", "codeop", "runpy", "xmlrpc",
}  # fmt: skip

#: Builtins and methods that do.
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "execfile", "loads_object", "find_class",
    "mark_safe", "SafeString", "SafeText", "system", "popen", "hash",
}  # fmt: skip

#: What imports or finds by a name, and the modules that may: each takes it from the settings,
#: or names a module of its own. None of them is given anything out of Redis.
IMPORTERS = {
    "import_string": {
        "checks/settings.py", "checks/timetables.py", "client/client.py", "client/outlet.py",
        "reconciliation/pairs.py", "reconciliation/problems.py", "scheduling/firing.py",
        "worker/chains.py",
    },
    "import_module": {
        "embedded.py", "management/commands/jobqueue.py", "testing/in_process.py",
        "worker/progress.py",
    },
    "autodiscover_modules": {"apps.py"},
    "load_module": set(),
    "spec_from_file_location": set(),
    "get_model": {"switches/flags.py"},
}  # fmt: skip

#: Rooms that take what stands in Redis to what it stands for. No name is looked up there by
#: ``getattr`` that is not written in the source.
READERS = (
    "payload.py", "job/registry.py", "retry.py", "signing.py", "encryption.py", "unique.py",
    "worker/executor.py", "worker/judge.py", "worker/routing.py", "worker/held.py",
    "worker/fetcher.py", "worker/heartbeat.py", "scheduling/poller.py", "scheduling/recovery.py",
    "scheduling/releaser.py", "job/disabled.py", "api/moves.py", "api/records.py", "redaction.py",
)  # fmt: skip


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the first part of what a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).partition(".")[0]


def called(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield the last name of what is called, and the call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id, node
            elif isinstance(node.func, ast.Attribute):
                # re.compile is another matter.
                is_re = isinstance(node.func.value, ast.Name) and node.func.value.id == "re"
                yield f"{'re.' if is_re else ''}{node.func.attr}", node


def names_in(tree: ast.Module) -> set[str]:
    """Return every name that is used, imported or asked of something."""
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.name.rpartition(".")[2] for alias in node.names}
    return found


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_no_module_can_make_objects_of_bytes_or_code_of_text() -> None:
    found = {}
    for path in MODULES:
        tree = tree_of(path)
        used = FORBIDDEN_MODULES.intersection(imported(tree))
        used |= FORBIDDEN_CALLS.intersection(name for name, _ in called(tree))
        if used:
            found[place(path)] = used
    assert found == {}


def test_only_these_modules_import_by_a_name_and_each_for_the_settings() -> None:
    used = {place(path): names_in(tree_of(path)) for path in MODULES}
    found = {name: {where for where in used if name in used[where]} for name in IMPORTERS}
    assert found == IMPORTERS


@pytest.mark.parametrize("name", READERS)
def test_who_reads_what_stands_in_redis_looks_nothing_up_by_its_name(name: str) -> None:
    for called_name, call in called(tree_of(PACKAGE / name)):
        if called_name in ("getattr", "setattr", "hasattr", "delattr", "attrgetter"):
            assert all(isinstance(each, ast.Constant) for each in call.args[1:2]), ast.dump(call)
        assert called_name not in ("globals", "locals", "vars", "__getattribute__", "import_string")


def test_a_shell_is_never_given_a_command() -> None:
    for path in MODULES:
        for name, call in called(tree_of(path)):
            if name in ("Popen", "run", "call", "check_output", "check_call"):
                shell = [k for k in call.keywords if k.arg == "shell"]
                assert not shell, f"{path}:{call.lineno}"


def test_no_template_lets_markup_through() -> None:
    templates = sorted(PACKAGE.rglob("*.html"))
    assert templates
    for path in templates:
        text = path.read_text()
        assert not re.search(r"\|\s*safe(seq)?\b|autoescape\s+off|\bon\w+\s*=\s*[\"']", text), path
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>(?!\s*</script>)\s*\S", text), path


def test_the_planted_fault_would_be_found() -> None:
    # The proof that the silence above means something.
    tree = ast.parse("import pickle as p\nfrom yaml import load\neval('1')\nos.system('x')\n")
    assert FORBIDDEN_MODULES & set(imported(tree)) == {"pickle", "yaml"}
    assert FORBIDDEN_CALLS & {name for name, _ in called(tree)} == {"eval", "system"}
    assert "import_string" in names_in(ast.parse("from a.b import import_string as s"))
