"""Every name that a project may use says what it does, in which units, and how it fails."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any

from django_jobqueue import exceptions

#: Where a project imports from; docs/reference describes each.
PUBLIC = (
    "django_jobqueue",
    "django_jobqueue.api",
    "django_jobqueue.client.middleware",
    "django_jobqueue.connection",
    "django_jobqueue.exceptions",
    "django_jobqueue.idempotence",
    "django_jobqueue.log",
    "django_jobqueue.middleware.database",
    "django_jobqueue.middleware.kill_switch",
    "django_jobqueue.middleware.logging",
    "django_jobqueue.reconciliation",
    "django_jobqueue.signals",
    "django_jobqueue.testing",
    "django_jobqueue.worker.middleware",
)

#: What a docstring says of a number that has a unit.
UNIT = re.compile(
    r"\b(seconds?|milliseconds?|ms|epoch|timedelta|a second|percent|share|KiB|bytes)\b", re.I
)

ERRORS = {name for name, value in vars(exceptions).items() if isinstance(value, type)}


@dataclass(frozen=True)
class Name:
    """A public name: a class, a function, or what a class offers."""

    path: str
    value: Any
    owner: type | None = None

    @property
    def doc(self) -> str:
        """Its own docstring."""
        return inspect.cleandoc(getattr(self.value, "__doc__", None) or "")

    @property
    def story(self) -> str:
        """Its docstring, that of its class, and that of what it points to with ``see``."""
        texts = [self.doc, (self.owner and self.owner.__doc__) or ""]
        for name in re.findall(r"\bsee ``([\w.]+)``", self.doc):
            place = "" if "." in name else self.path.rpartition(".")[0]
            texts += (each.doc for each in NAMES if each.path.endswith(f"{place}.{name}"))
        return "\n".join(texts)

    @property
    def function(self) -> FunctionType | None:
        """The Python function behind it, or None."""
        value = self.value
        if isinstance(value, property):
            value = value.fget
        elif isinstance(value, cached_property):
            value = value.func
        value = inspect.unwrap(getattr(value, "__func__", value))
        return value if isinstance(value, FunctionType) else None

    @property
    def annotations(self) -> dict[str, str]:
        """The types of its parameters and of what it returns, as they are written."""
        return self.function.__annotations__ if self.function else {}

    @property
    def errors(self) -> set[str]:
        """The errors of ours that its own body raises."""
        if self.function is None:
            return set()
        calls = (
            node.exc.func
            for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(self.function))))
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
        )
        return {call.id for call in calls if isinstance(call, ast.Name) and call.id in ERRORS}

    @property
    def unexplained_attributes(self) -> Iterator[str]:
        """What a class declares, with neither a comment for readers nor a word in its docstring."""
        if not isinstance(self.value, type):
            return
        for base in self.value.__mro__:
            if base.__module__.startswith("django_jobqueue"):
                yield from self._unexplained_attributes_of(base)

    def _unexplained_attributes_of(self, cls: type) -> Iterator[str]:
        lines = textwrap.dedent(inspect.getsource(cls)).splitlines()
        definition = ast.parse("\n".join(lines)).body[0]
        assert isinstance(definition, ast.ClassDef)
        for node in definition.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                attribute = node.target.id
                commented = lines[node.lineno - 2].strip().startswith("#:")
                if not (commented or attribute.startswith("_") or f"``{attribute}``" in self.doc):
                    yield attribute


def public_names() -> Iterator[Name]:
    """Yield every public name of every public module, and of every public class once."""
    seen: set[int] = set()
    for module in map(import_module, PUBLIC):
        for name in exported(module):
            value = getattr(module, name)
            ours = getattr(value, "__module__", "").startswith("django_jobqueue")
            if not ours or id(value) in seen:
                continue
            seen.add(id(value))
            yield Name(f"{module.__name__}.{name}", value)
            if isinstance(value, type):
                yield from members(value)


def exported(module: ModuleType) -> list[str]:
    """Return what a module says is public, or what it defines itself."""
    defined = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    return list(getattr(module, "__all__", defined))


def members(cls: type) -> Iterator[Name]:
    """Yield the public methods and properties of a class, also those of our bases."""
    for base in cls.__mro__:
        if not base.__module__.startswith("django_jobqueue"):
            continue
        for name, value in vars(base).items():
            called = isinstance(value, (FunctionType, classmethod, staticmethod))
            if not name.startswith("_") and (
                called or isinstance(value, (property, cached_property))
            ):
                yield Name(f"{cls.__module__}.{cls.__name__}.{name}", value, cls)


NAMES = list(public_names())


def test_every_public_name_has_a_docstring_of_its_own() -> None:
    # A dataclass without one has its signature instead.
    assert [
        name.path
        for name in NAMES
        if not name.doc or name.doc.startswith(f"{name.path.rpartition('.')[2]}(")
    ] == []


def test_a_docstring_begins_with_a_sentence() -> None:
    assert [name.path for name in NAMES if not name.doc.split("\n\n")[0].endswith((".", ":"))] == []


def test_the_unit_of_every_number_that_measures_is_told() -> None:
    assert [
        f"{name.path}: {parameter}"
        for name in NAMES
        for parameter, annotation in name.annotations.items()
        if re.search(r"\b(float|Delay|When)\b", annotation) and not UNIT.search(name.story)
    ] == []


def test_every_error_of_ours_that_a_function_raises_is_told() -> None:
    assert [
        f"{name.path}: {error}"
        for name in NAMES
        for error in name.errors
        if not re.search(rf"Raise[sd]?\b[^.]*\b{error}\b", name.story)
    ] == []


def test_every_attribute_that_a_class_declares_is_explained() -> None:
    assert [
        f"{name.path}: {attribute}" for name in NAMES for attribute in name.unexplained_attributes
    ] == []
