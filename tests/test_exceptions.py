"""One tree of errors: each is also what a caller expects, tells a way out, and can be pickled."""

from __future__ import annotations

import copy
import pickle
from datetime import timedelta

import pytest

from django_jobqueue import exceptions
from django_jobqueue.exceptions import (
    AccessDenied,
    ArgumentNotSerializable,
    BadSignature,
    BootError,
    DecryptionFailed,
    Discard,
    DrillRefused,
    EmbeddedServerUnavailable,
    EnqueueError,
    InvalidArguments,
    InvalidJobClasses,
    InvalidOption,
    InvalidPayload,
    InvalidQuery,
    InvalidQueueName,
    InvalidSchedule,
    JobKilled,
    JobQueueError,
    JobTimeout,
    PayloadTooLarge,
    PoisonPill,
    SearchUnfinished,
    Skip,
    Snooze,
    StoreError,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
    TooManyErrors,
    UnknownJob,
    UnknownKey,
    UnknownReconciler,
    UnknownTimetable,
    WrongServer,
)

#: One of each, the builtin it also is, and a piece of its sentence.
SAMPLES: list[tuple[JobQueueError, type[BaseException], str]] = [
    (JobQueueError("something"), Exception, "something"),
    (StoreError("odd"), Exception, "odd"),
    (StoreUnavailable("refused"), ConnectionError, "refused"),
    (StoreFull("OOM"), Exception, "OOM"),
    (StoreRefused("WRONGTYPE"), Exception, "WRONGTYPE"),
    (AccessDenied("NOAUTH"), StoreUnavailable, "NOAUTH"),
    (WrongServer("certificate"), StoreUnavailable, "certificate"),
    (EmbeddedServerUnavailable("no disk"), RuntimeError, "no disk"),
    (EnqueueError("full"), RuntimeError, "full"),
    (
        ArgumentNotSerializable("args[0]", "is a set", "pass a list"),
        TypeError,
        "args[0] is a set: pass a list.",
    ),
    (InvalidArguments("AddJob", "too many"), TypeError, "AddJob.perform() cannot take"),
    (
        PayloadTooLarge("AddJob", 1_234_567, 1_000_000),
        ValueError,
        "is 1,234,567 bytes, over the limit of 1,000,000: pass a key",
    ),
    (InvalidQueueName("a b"), ValueError, "'a b' is not a queue name: use 1 to 64"),
    (InvalidSchedule(True, "use a number"), ValueError, "True is not a time to run at: use"),
    (InvalidOption("retry", -1, "from 0 on"), ValueError, "retry=-1 is not possible: from 0 on."),
    (InvalidPayload("no JSON"), ValueError, "Not a job: no JSON."),
    (UnknownJob("a.B"), LookupError, "'a.B' is not a registered job: deploy"),
    (BadSignature("it has none"), ValueError, "not to be trusted: it has none. Where a key"),
    (DecryptionFailed("changed"), ValueError, "cannot be decrypted: changed. Enqueue"),
    (UnknownKey("0123"), LookupError, "encrypted with the key '0123', which is not here: add"),
    (PoisonPill(3), Exception, "killed its worker 3 times"),
    (JobTimeout(2.5), TimeoutError, "cancelled after its timeout of 2.5 s"),
    (InvalidQuery("count", 5_000, "1 to 1,000"), ValueError, "count=5000 is not possible: 1 to"),
    (InvalidQuery("at", "x" * 300, "a time"), ValueError, "xxx... is not possible: a time."),
    (SearchUnfinished("jid 'a'", 1_200, 7), LookupError, "the first 1,200 entries"),
    (JobKilled("queue 'low'"), Exception, "killed by hand while it waited in queue 'low'"),
    (BootError("no"), Exception, "no"),
    (InvalidJobClasses(["one", "two"]), BootError, "one; two"),
    (UnknownTimetable("nigtly", ["nightly"]), LookupError, "Did you mean 'nightly'?"),
    (TooManyErrors("a.B", 1_234, "pk=7"), RuntimeError, "gave up after 1,234 rows with errors"),
    (DrillRefused("no worker runs", "start one"), RuntimeError, "no worker runs; start one."),
    (UnknownReconciler("Hael", ["a.Heal"]), LookupError, "Did you mean 'Heal'?"),
    (Snooze(5), Exception, "again in 5 s"),
    (Discard("why"), Exception, "why"),
    (Skip("nothing to do"), Exception, "nothing to do"),
]

each = pytest.mark.parametrize(
    ("error", "kind", "sentence"), SAMPLES, ids=[type(error).__name__ for error, *_ in SAMPLES]
)


@each
def test_an_error_is_of_our_tree_and_what_a_caller_expects(
    error: JobQueueError, kind: type[BaseException], sentence: str
) -> None:
    assert isinstance(error, JobQueueError)
    assert isinstance(error, kind)
    assert sentence in str(error)


@each
def test_an_error_survives_pickling_and_copying_with_its_facts(
    error: JobQueueError, kind: type[BaseException], sentence: str
) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own
        assert type(twin) is type(error)
        assert vars(twin) == vars(error)
        assert str(twin) == str(error)


def test_every_error_of_the_module_is_sampled_here() -> None:
    defined = {
        kind
        for kind in vars(exceptions).values()
        if isinstance(kind, type) and issubclass(kind, BaseException)
    }
    assert defined == {type(error) for error, *_ in SAMPLES}


def test_control_flow_says_something_without_a_reason() -> None:
    assert str(Discard()) == "discarded"
    assert str(Skip()) == "skipped"


@pytest.mark.parametrize(
    ("delay", "seconds"), [(0, 0.0), (30, 30.0), (1.5, 1.5), (timedelta(minutes=2), 120.0)]
)
def test_a_snooze_keeps_its_delay_in_seconds(delay: object, seconds: float) -> None:
    snooze = Snooze(delay)
    assert snooze.delay == seconds
    assert type(snooze.delay) is float


@pytest.mark.parametrize(
    "delay",
    [-1, timedelta(seconds=-1), True, "5", None, float("nan"), float("inf"), 10**400],
    ids=["negative", "negative-timedelta", "bool", "str", "None", "nan", "inf", "beyond-float"],
)
def test_a_snooze_refuses_what_is_no_delay(delay: object) -> None:
    with pytest.raises(InvalidSchedule, match="Snooze takes"):
        Snooze(delay)
