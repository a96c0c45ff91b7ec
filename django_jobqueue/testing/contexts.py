"""Where the jobs of a test go: context managers that also decorate functions and test cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Generic, TypeVar

from django.db import connections
from django.test import TestCase
from django.test.utils import TestContextDecorator

from django_jobqueue.client.outlet import use_outlet
from django_jobqueue.testing.fake import FakeOutlet
from django_jobqueue.worker.inline import InlineOutlet

T = TypeVar("T")


class Context(TestContextDecorator, Generic[T]):
    """
    A context manager, and a decorator of functions, of coroutines and of test cases.

    ``make`` returns a new context for each use. With ``kwarg_name`` a decorated function
    is given what the context returns under that name, with ``attr_name`` a test case.
    """

    def __init__(
        self,
        make: Callable[[], AbstractContextManager[T]],
        *,
        attr_name: str | None = None,
        kwarg_name: str | None = None,
    ) -> None:
        super().__init__(attr_name, kwarg_name)
        self._make = make
        self._entered: list[AbstractContextManager[T]] = []

    def enable(self) -> T:
        """Enter a new context."""
        made = self._make()
        value = made.__enter__()
        self._entered.append(made)
        return value

    def disable(self) -> None:
        """Leave the one entered last."""
        self._entered.pop().__exit__(None, None, None)

    def __enter__(self) -> T:  # type: ignore[override]  # the stubs know of one user only
        return self.enable()


class fake_jobs(Context[FakeOutlet]):
    """
    Put jobs into a box of the test's own, a ``FakeOutlet``, which the context returns.

    A context manager, and a decorator of functions and of test cases, where
    ``outbox()`` returns the box::

        with fake_jobs() as box:
            place_order()
            box.assert_enqueued(InvoiceJob)
    """

    def __init__(self, *, attr_name: str | None = None, kwarg_name: str | None = None) -> None:
        super().__init__(
            lambda: use_outlet(FakeOutlet()), attr_name=attr_name, kwarg_name=kwarg_name
        )


class inline_jobs(Context[InlineOutlet]):
    """
    Run jobs where they are enqueued, or at the commit that they wait for.

    A context manager, and a decorator of functions and of test cases. It returns an
    ``InlineOutlet``, which tells what Redis would hold now.
    """

    def __init__(self, *, attr_name: str | None = None, kwarg_name: str | None = None) -> None:
        super().__init__(
            lambda: use_outlet(InlineOutlet()), attr_name=attr_name, kwarg_name=kwarg_name
        )


class committing(Context[None]):
    """
    Call at the end what ``transaction.on_commit`` was given inside, on all databases.

    Django's ``captureOnCommitCallbacks(execute=True)`` for each of them: for code
    that enqueues out of hooks of its own, and for transactions that no test case began.
    A context manager, and a decorator of functions and of test cases.

    Raises: what the hooks raise.
    """

    def __init__(self) -> None:
        super().__init__(_committing)


@contextmanager
def _committing() -> Iterator[None]:
    with ExitStack() as captures:
        for alias in connections:
            captures.enter_context(TestCase.captureOnCommitCallbacks(using=alias, execute=True))
        yield
