"""Ten thousand payloads of a stranger: nothing is imported, nothing raised, no name followed."""

from __future__ import annotations

import builtins
import importlib
import logging
import random
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_jobqueue import Job, Payload
from django_jobqueue.conf import get_settings
from django_jobqueue.encryption import encrypted
from django_jobqueue.exceptions import UnknownJob
from django_jobqueue.job.declaration import wire_name
from django_jobqueue.job.registry import Registry, registry
from django_jobqueue.payload import dump_json
from django_jobqueue.signing import signer
from django_jobqueue.store.claims import BURY
from django_jobqueue.worker.executor import Executor
from tests.conftest import JobqueueSettings
from tests.security.sealed import aside
from tests.support.imports import ImportSpy, spied_imports

#: Payloads of the long run, and its seed.
MANY, SEED = 10_000, 20_261_127

FERNET = "bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3LW5ldzE="
SECRET = "a secret of the tests " * 2

#: Modules that are there and that nobody has imported: a name of theirs would import one.
STRANGE_MODULES = [
    "this", "antigravity", "turtledemo", "idlelib.run", "lib2to3.main", "ensurepip", "tkinter",
]  # fmt: skip

#: How often the job here has run, and what a bystander was asked to do.
RAN: list[Any] = []
CALLED: list[Any] = []


class FuzzedJob(Job):
    """Takes anything."""

    self_healing = False

    def perform(self, *args: Any) -> None:
        """Note that it ran."""
        RAN.append(len(args))


@aside
class FuzzedSealedJob(FuzzedJob):
    """Takes what is encrypted."""

    encrypt = True


def bystander(*args: Any) -> None:
    """Stand in the same module as a job, and be none."""
    CALLED.append(args)


class Bystander:
    """Has a ``perform`` and derives from nothing."""

    def perform(self, *args: Any) -> None:
        """Tell."""
        CALLED.append(args)


class AbstractFuzzedJob(Job):
    """Is only there to derive from."""

    abstract = True

    def perform(self, *args: Any) -> None:
        """Tell."""
        CALLED.append(args)


@pytest.fixture
def spy() -> Iterator[ImportSpy]:
    """Who sees each import of this test that is not in ``sys.modules``."""
    with spied_imports() as made:
        yield made


@pytest.fixture
def quiet() -> Iterator[None]:
    """Nothing is logged: what a log line makes of a payload others test."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(before)


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()
    CALLED.clear()


def executor_of(jobqueue_settings: JobqueueSettings, **options: Any) -> Executor:
    jobqueue_settings(**options)
    return Executor(get_settings(), lambda: False)


# The long run ----------------------------------------------------------------------------

FIELDS = [
    "class", "args", "jid", "queue", "retry", "retry_count", "retry_for", "retry_queue", "dead",
    "backtrace", "tags", "expires_in", "unique_for", "unique_until", "unique_digest",
    "on_conflict", "bypass_kill_switch", "held_from", "cattr", "crashes", "created_at",
    "enqueued_at", "failed_at", "retried_at", "unknown_since", "error_class", "error_message",
    "error_backtrace", "raw", "sig", "encrypt", "bid", "__class__", "__reduce__", "py/object",
    "!!python/object", "callback", "on_success", "on_exhausted", "perform", "wrapped",
]  # fmt: skip


def strange_name(chance: random.Random) -> str:
    module = chance.choice([*STRANGE_MODULES, "os", "builtins", "django.core.management", __name__])
    tail = chance.choice(
        ["", ".system", ".eval", ".call_command", ".s", ".bystander", ".Bystander", ".__class__",
         ".FuzzedJob.perform", ".FuzzedJob.__init__.__globals__", ".__builtins__.exec", ":main"]
    )  # fmt: skip
    return module + tail


def strange_value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randrange(12 if depth < 3 else 9)
    if kind < 3:
        return strange_name(chance)
    if kind == 3:
        return chance.choice([None, True, False])
    if kind == 4:
        return chance.choice([0, -1, 2**63, 10**400, chance.randrange(10**15)])
    if kind == 5:
        return chance.choice([0.5, -0.0, 1e308, 1e-320])
    if kind == 6:
        return chance.randbytes(chance.randrange(6)).decode("latin-1")
    if kind == 7:
        return chance.choice(["default", "start", "rerun", "0" * 32, "queue", "cos\nsystem\n(S'x'"])
    if kind == 8:
        return chance.choice(["!!python/object/apply:os.system ['x']", "{{7*7}}", "%s", "\ud800"])
    if kind == 9:
        return [strange_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    names = [*FIELDS, strange_name(chance)]
    return {
        chance.choice(names): strange_value(chance, depth + 1) for _ in range(chance.randrange(4))
    }


def strange_payload(chance: random.Random) -> bytes:
    fields: dict[str, Any] = {
        "class": chance.choice([wire_name(FuzzedJob), strange_name(chance)]),
        "args": [strange_value(chance) for _ in range(chance.randrange(3))],
        "jid": chance.randbytes(12).hex(),
    }
    for _ in range(chance.randrange(5)):
        fields[chance.choice(FIELDS)] = strange_value(chance)
    raw = dump_json(fields).encode(errors="surrogatepass")
    if chance.random() < 0.2:
        at = chance.randrange(len(raw))
        raw = raw[:at] + chance.randbytes(chance.randrange(4)) + raw[at + chance.randrange(8) :]
    return raw


@pytest.mark.usefixtures("quiet")
def test_of_ten_thousand_payloads_none_imports_anything_or_gets_out_of_the_executor(
    jobqueue_settings: JobqueueSettings, spy: ImportSpy
) -> None:
    chance = random.Random(SEED)
    executor = executor_of(jobqueue_settings)
    # What is imported at the first failure, say to format one, is nobody's payload.
    for raw in (b"", dump_json({"class": "x", "args": [], "jid": "1"}).encode()):
        executor.run(raw, "default")
    spy.asked.clear()
    before = set(sys.modules)
    ended = {"ran": 0, "judged": 0}
    for number in range(MANY):
        raw = strange_payload(chance)
        try:
            outcome = executor.run(raw, "default")
        except BaseException as error:
            pytest.fail(f"payload {number} of seed {SEED}: {error!r} for {raw!r}")
        ended["ran" if outcome is None else "judged"] += 1
        if outcome is not None and outcome.raw:
            Payload.decode(outcome.raw)
    assert spy.asked == []
    assert set(sys.modules) == before
    assert CALLED == []
    # Both ends were reached, or nothing was shown.
    assert len(RAN) >= ended["ran"] > MANY // 20
    assert ended["judged"] > MANY // 20


def test_a_spy_that_is_asked_would_tell(spy: ImportSpy) -> None:
    name = next(name for name in STRANGE_MODULES if name not in sys.modules)
    with pytest.raises(ImportError):
        importlib.import_module(f"{name}_that_is_not_there")
    assert spy.asked == [f"{name}_that_is_not_there"]


# Names -----------------------------------------------------------------------------------


def reachable() -> Iterator[str]:
    """Yield the dotted names of all that a lookup by attributes would find in some modules."""
    for module in (
        builtins, sys, importlib, random, sys.modules["os"], sys.modules["subprocess"],
        sys.modules["django.core.management"], sys.modules["django_jobqueue"],
        sys.modules["django_jobqueue.job.base"], sys.modules[__name__],
    ):  # fmt: skip
        yield module.__name__
        for name in dir(module):
            yield f"{module.__name__}.{name}"
            yield name
    for name in (wire_name(FuzzedJob), f"{__name__}.Bystander", f"{__name__}.AbstractFuzzedJob"):
        for attribute in dir(FuzzedJob):
            yield f"{name}.{attribute}"


def test_a_name_that_python_could_follow_is_no_job_unless_a_class_says_so(spy: ImportSpy) -> None:
    known = {wire_name(cls) for cls in registry().classes()}
    assert wire_name(FuzzedJob) in known
    names = set(reachable()) - known
    assert len(names) > 1_000
    assert {"os.system", "builtins.eval", "builtins.exec", "subprocess.Popen"} <= names
    assert {"django.core.management.call_command", f"{__name__}.bystander"} <= names
    fresh = Registry()
    for name in names:
        with pytest.raises(UnknownJob):
            fresh.get(name)
    assert fresh.get(wire_name(FuzzedJob)) is FuzzedJob
    assert spy.asked == []
    assert CALLED == []


# With signatures and encryption --------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=()), max_size=20)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
anything = st.recursive(
    leaves.filter(lambda value: value not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@hypothesis_settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    base=st.sampled_from([FuzzedJob, FuzzedSealedJob]),
    changes=st.dictionaries(
        st.sampled_from(["sig", "encrypt", "args", "queue", "jid", "class", "cattr"]),
        anything,
        min_size=1,
    ),
)
@example(base=FuzzedJob, changes={"args": [True]})  # which Python takes for [1]
@example(base=FuzzedSealedJob, changes={"encrypt": 1})
def test_no_tampering_with_a_signed_and_encrypted_job_runs_it_or_gets_out_of_the_executor(
    jobqueue_settings: JobqueueSettings, base: type[Job], changes: dict[str, Any]
) -> None:
    RAN.clear()
    executor = executor_of(jobqueue_settings, SIGNING_KEYS=[SECRET], ENCRYPTION_KEYS=[FERNET])
    ours = signer()
    assert ours is not None
    fields: dict[str, Any] = {
        "class": wire_name(base), "args": [1], "jid": "1" * 24, "queue": "default",
    }  # fmt: skip
    if base.encrypt:
        fields["encrypt"] = True
    made = ours.sign(encrypted(Payload(fields)))
    changed = {**made.fields, **changes}
    outcome = executor.run(Payload(changed).encode(), "default")
    # The queue that is told is not the one that counts; and some changes change nothing.
    matters = {
        name
        for name in changes
        if name != "queue" and dump_json(changed[name]) != dump_json(made.fields.get(name))
    }
    if matters - {"cattr"} or changes.get("cattr") is not None:
        assert RAN == []
        assert outcome is not None
        assert outcome.verb == BURY
    else:
        assert outcome is None
        assert RAN == [1]
