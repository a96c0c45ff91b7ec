"""Which class a name in Redis stands for: only those that were imported, never by importing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jobqueue import Job
from django_jobqueue.exceptions import UnknownJob
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.registry import Registry, registry

Define = Callable[..., type[Job]]


@pytest.fixture
def define() -> Iterator[Define]:
    """Define job classes that nobody knows any more after the test."""
    defined: list[type[Job]] = []

    def define_job(name: str, parent: type[Job] = Job, **attributes: Any) -> type[Job]:
        body = {"__qualname__": name, "__module__": __name__, **attributes}
        defined.append(type(name, (parent,), body))
        return defined[-1]

    yield define_job
    for cls in defined:
        cls.abstract = True
    Job.definitions += 1


def known(name: str) -> bool:
    try:
        registry().get(name)
    except UnknownJob:
        return False
    return True


def test_a_class_is_known_by_its_dotted_path(define: Define) -> None:
    cls = define("PathJob")
    assert wire_name(cls) == f"{__name__}.PathJob"
    assert registry().get(f"{__name__}.PathJob") is cls


def test_a_nested_class_is_known_by_its_qualified_name(define: Define) -> None:
    cls = define("Outer.NestedJob")
    assert registry().get(f"{__name__}.Outer.NestedJob") is cls


def test_a_class_with_a_wire_name_is_known_by_that_alone(define: Define) -> None:
    cls = define("RubyJob", wire_name="Hard::Job")
    assert registry().get("Hard::Job") is cls
    assert not known(f"{__name__}.RubyJob")


def test_a_wire_name_is_not_inherited(define: Define) -> None:
    parent = define("ParentJob", wire_name="Parent")
    child = define("ChildJob", parent)
    assert registry().get("Parent") is parent
    assert registry().get(f"{__name__}.ChildJob") is child


def test_an_abstract_class_is_unknown_and_its_children_are_not(define: Define) -> None:
    define("AbstractJob", abstract=True)
    middle = define("MiddleJob", abstract=True)
    child = define("ConcreteJob", middle)
    assert not known(f"{__name__}.AbstractJob")
    assert not known(f"{__name__}.MiddleJob")
    assert registry().get(f"{__name__}.ConcreteJob") is child
    assert not child.abstract


def test_job_itself_is_unknown() -> None:
    assert not known("django_jobqueue.job.base.Job")


def test_a_class_that_is_defined_later_is_found(define: Define) -> None:
    name = f"{__name__}.LateJob"
    assert not known(name)
    cls = define("LateJob")
    assert registry().get(name) is cls
    assert cls in registry().classes()


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "django.core.management.call_command",
        "antigravity.AntigravityJob",
        "tests.job.test_registry.known",
        "tests.job.test_registry.Define",
        "__builtins__",
        "Job",
        "",
        ".",
        "a\nb",
    ],
)
def test_what_is_no_registered_class_is_unknown_and_never_imported(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spy_on_imports(monkeypatch)
    with pytest.raises(UnknownJob) as caught:
        registry().get(name)
    assert repr(name) in str(caught.value)
    assert isinstance(caught.value, LookupError)
    assert asked == []
    assert "antigravity" not in sys.modules


@given(st.text())
def test_no_name_imports_anything(name: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        asked = spy_on_imports(monkeypatch)
        assert not known(f"x{name}")
        assert asked == []


def spy_on_imports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    class Spy:
        def find_spec(self, name: str, *_: Any) -> None:
            asked.append(name)

    monkeypatch.setattr(sys, "meta_path", [Spy(), *sys.meta_path])
    return asked


def test_two_classes_of_one_name_are_told(define: Define) -> None:
    first = define("TwinJob")
    second = define("TwinJob")
    third = define("OtherJob", wire_name="Shared")
    fourth = define("FurtherJob", wire_name="Shared")
    found = registry().duplicates()
    assert found[f"{__name__}.TwinJob"] == [first, second]
    assert found["Shared"] == [third, fourth]
    assert all(len(rivals) > 1 for rivals in found.values())


def test_queues_are_all_that_a_class_names_and_the_default(define: Define) -> None:
    define("QueueJob", queue="zebra", retry_queue="aardvark")
    define("HiddenJob", queue="hidden", abstract=True)
    queues = registry().queues()
    assert queues == sorted(queues)
    assert {"zebra", "aardvark", "default"} <= set(queues)
    assert "hidden" not in queues


def test_classes_are_told_by_wire_name(define: Define) -> None:
    last = define("LastJob", wire_name="zzz.Last")
    first = define("FirstJob", wire_name="000.First")
    classes = registry().classes()
    assert classes[0] is first
    assert classes[-1] is last
    assert len(set(classes)) == len(classes)


def test_there_is_one_registry_in_a_process() -> None:
    assert registry() is registry()
    assert isinstance(registry(), Registry)


def test_looking_up_a_known_name_does_not_look_at_the_classes_again(
    define: Define, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = define("OftenJob")
    name = wire_name(cls)
    assert registry().get(name) is cls
    monkeypatch.setattr(Registry, "_look", lambda self: pytest.fail("looked again"))
    assert registry().get(name) is cls
