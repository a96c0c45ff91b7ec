"""Where ``JOBQUEUE["OUTLET"] = "fake"`` puts jobs: one box a process, emptied for each test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from unittest import TestResult

from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase

from django_jobqueue.client.outlet import Entry, outlet
from django_jobqueue.testing.fake import FakeOutlet

#: Another object for each test of a runner that tells us of its tests.
_test = object()


class Outbox(FakeOutlet):
    """
    The box of the settings.

    It is emptied when a test of Django's test cases begins, as ``mail.outbox`` is, and
    before each test that pytest runs. In other test cases say ``outbox().clear()``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: object = None

    def push(self, entries: Sequence[Entry], *, healing: bool = False) -> Mapping[int, str]:
        """Keep the jobs; see ``FakeOutlet.push``."""
        self.follow_the_tests()
        return super().push(entries, healing=healing)

    def follow_the_tests(self) -> None:
        """Empty the box if another test has begun."""
        if self._seen is not _test:
            self._seen = _test
            self.clear()


def begin_test() -> None:
    """Let the box of the settings be empty for another test."""
    global _test
    _test = object()


def _hear_of_tests() -> None:
    """Have Django's test cases tell of each test, for they have no signal for it."""
    call = SimpleTestCase.__call__

    def told(self: SimpleTestCase, result: TestResult | None = None) -> None:
        begin_test()
        call(self, result)

    SimpleTestCase.__call__ = told  # type: ignore[method-assign]


_hear_of_tests()


def outbox() -> FakeOutlet:
    """
    Return the box that jobs are put into now.

    That of the innermost ``fake_jobs()`` or ``use_outlet()``, else that of the settings.

    Raises: ImproperlyConfigured where jobs go somewhere else.
    """
    found = outlet()
    if not isinstance(found, FakeOutlet):
        raise ImproperlyConfigured(
            f"Jobs go to {type(found).__qualname__} here, and not into a box. Put "
            "'with fake_jobs():' around the test, or set JOBQUEUE['OUTLET'] = 'fake' in the "
            "settings of the tests."
        )
    if isinstance(found, Outbox):
        found.follow_the_tests()
    return found
