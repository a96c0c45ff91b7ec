"""
The soak: a modest load of every kind of job, a fault of any kind each 30 s, and nothing grows.

One worker lives through it all: its processes are looked at. The others are hurt.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from django_jobqueue.exceptions import StoreUnavailable
from tests.chaos import findings, vitals
from tests.chaos.ending import PATIENCE, drained
from tests.chaos.faults import FAULTS, Strike, strike
from tests.chaos.jobs import (
    DriftingJob,
    FlakyJob,
    LookJob,
    MortalJob,
    SingleJob,
    SteadyJob,
)
from tests.chaos.options import Options
from tests.chaos.recovery import watched
from tests.chaos.report import Report
from tests.chaos.scene import Scene, scene
from tests.support.polling import wait_until
from tests.support.server import RedisServer

#: Threads of each process.
CONCURRENCY = 5

#: Jobs that are kept in the dead set: few, so that it is full soon and grows no more.
DEAD = 200

#: Seconds between two pushes, two samples, and two lines that tell of them.
PUSH, SAMPLE, TELL = 0.2, 2.0, 60.0

#: Seconds from which on a soak is long enough to speak of growth: before, everything warms up.
LONG = 600.0

#: Idents of the unique jobs: so few that some are refused.
SINGLES = 40


@dataclass(slots=True)
class Feeder:
    """Enqueues jobs of all kinds, at a rate, and remembers what was accepted."""

    rate: float
    chance: random.Random
    #: The jids that were accepted, and their kinds.
    accepted: dict[str, str] = field(default_factory=dict)
    refused: int = 0
    #: Calls that ended with an error: what became of those jobs, the caller cannot know.
    failed: int = 0

    def feed(self) -> None:
        """Enqueue what a moment brings."""
        for _ in range(round(self.rate * PUSH)):
            kind = self.chance.choices(
                ["steady", "scheduled", "flaky", "single", "drifting", "mortal"],
                [60, 12, 8, 10, 7, 3],
            )[0]
            try:
                jid = self._enqueue(kind)
            except StoreUnavailable:
                self.failed += 1
                return  # Redis is being hurt: the next moment is another try
            if jid is None:
                self.refused += 1
            else:
                self.accepted[jid] = kind

    def _enqueue(self, kind: str) -> str | None:
        ident = f"{kind}{len(self.accepted)}"
        match kind:
            case "scheduled":
                return SteadyJob.perform_in(self.chance.uniform(1, 20), ident, 0.05)
            case "flaky":
                return FlakyJob.perform_async(ident)
            case "single":
                return SingleJob.perform_async(f"single{self.chance.randrange(SINGLES)}")
            case "drifting":
                return DriftingJob.perform_async(ident)
            case "mortal":
                return MortalJob.perform_async(ident)
        return SteadyJob.perform_async(ident, self.chance.uniform(0.02, 0.5))


@dataclass(slots=True)
class Record:
    """The samples, and the lines that tell of them as they come."""

    scene: Scene
    feeder: Feeder
    path: Path | None
    began: float = field(default_factory=time.monotonic)
    samples: dict[str, list[float]] = field(default_factory=dict)
    strikes: list[Strike] = field(default_factory=list)
    told_at: float = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    def take(self) -> None:
        """Take one sample; tell of it when it is time."""
        site = self.scene.site
        sample = {**vitals.of_worker(self.scene.crew.elder), **vitals.of_redis(site)}
        for name, value in sample.items():
            self.samples.setdefault(name, []).append(value)
        if self.elapsed - self.told_at >= TELL:
            self.told_at = self.elapsed
            self._tell(sample)

    def _tell(self, sample: vitals.Sample) -> None:
        self.scene.ledger.read()
        line = (
            f"{self.elapsed:6.0f} s: {len(self.feeder.accepted)} accepted, "
            f"{len(self.scene.ledger.finishes)} finished, "
            f"{sum(strike.has_hit for strike in self.strikes)} faults; {vitals.shown(sample)}\n"
        )
        sys.stderr.write(line)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(line)


@contextmanager
def repeated(work: Callable[[], None], seconds: float) -> Iterator[Callable[[], bool]]:
    """
    Do something again and again in a thread; yield what tells whether it still goes on.

    What it raised is raised at the end of the block.
    """
    over = threading.Event()
    errors: list[BaseException] = []

    def loop() -> None:
        try:
            while not over.wait(seconds):
                work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield thread.is_alive
    finally:
        over.set()
        thread.join()
    if errors:
        raise errors[0]


def looked_into(stage: Scene, path: Path) -> vitals.Sample:
    """Return what each process of the elder has in use, on the average; they tell it themselves."""
    path.unlink(missing_ok=True)
    elders = stage.crew.elder.children()
    asked = 0

    def told() -> list[vitals.Sample] | None:
        nonlocal asked
        lines = path.read_text().splitlines() if path.exists() else []
        # Whoever is free takes one, so it may take some until each of the elder's had its turn.
        if asked - len(lines) < 2 * len(elders):
            stage.site.push(LookJob, str(path), queue=LookJob.queue, retry=False)
            asked += 1
        found: dict[int, vitals.Sample] = dict(map(json.loads, lines))
        return [found[pid] for pid in elders] if found.keys() >= set(elders) else None

    return vitals.mean(wait_until(told, PATIENCE, "the elder to look at itself"))


def deck(chance: random.Random) -> Iterator[str]:
    """Yield names of faults for ever: each once, in some order, and then all again."""
    while True:
        yield from chance.sample(sorted(FAULTS), len(FAULTS))


def run(server: RedisServer, directory: Path, options: Options) -> Report:
    """Soak for the given time, and report what grew and what was lost."""
    with scene(
        server,
        directory,
        options.seed,
        by="jid",
        concurrency=CONCURRENCY,
        elder_processes=2,
        env={"JOBQUEUE_TEST_APPS": "tests.chaos"},
        settings={"DEAD_MAX_ENTRIES": DEAD},
    ) as stage:
        stage.crew.start(groups=2)
        elders = stage.crew.elder.children()
        # A chance of its own: what is enqueued must not depend on when a fault draws.
        feeder = Feeder(options.rate, random.Random(options.seed + 1))
        record = Record(stage, feeder, options.samples)
        looks: list[vitals.Sample] = []
        with watched(stage.site, stage.killer):
            with repeated(record.take, SAMPLE) as samples, repeated(feeder.feed, PUSH) as feeds:
                for number, name in enumerate(deck(stage.chance), start=1):
                    due = min(number * options.every, options.seconds)
                    while record.elapsed < due and samples() and feeds():
                        time.sleep(0.05)
                    if record.elapsed >= options.seconds or not (samples() and feeds()):
                        break
                    record.strikes.append(strike(stage, name))
                    if not looks and record.elapsed >= options.seconds / 10:
                        looks.append(looked_into(stage, directory / "looks"))
            looks.append(looked_into(stage, directory / "looks"))
            is_done = drained(stage, feeder.accepted)
        is_same = stage.crew.elder.children() == elders
        dead = stage.site.redis.zcard(stage.site.keys.dead)
        stage.crew.stop()
        return _report(stage, record, looks, options, is_done, is_same, dead)


def _report(
    stage: Scene,
    record: Record,
    looks: Sequence[vitals.Sample],
    options: Options,
    is_settled: bool,
    is_same: bool,
    dead: int,
) -> Report:
    feeder = record.feeder
    made = Report(f"soak: {options.seconds:g} s, a fault each {options.every:g} s")
    hits = findings.tell_strikes(made, record.strikes)
    made.tell("jobs accepted", len(feeder.accepted))
    for kind, count in sorted(Counter(feeder.accepted.values()).items()):
        made.tell(f"  {kind}", count)
    made.tell("duplicates refused", feeder.refused)
    made.tell("calls that failed", feeder.failed)
    findings.tell_losses(made, stage, feeder.accepted, hits)
    findings.tell_recovery(made, stage.killer, slack=None)
    same = "the worker that nobody hurt is the same"
    made.promise("elder unhurt", "yes" if is_same else "no", same, is_same)
    findings.tell_end(made, stage, is_settled)
    made.tell("dead set", f"{dead} of {DEAD} at most")
    spans = {name: (looks[0][name], looks[-1][name]) for name in looks[0]}
    spans |= {name: vitals.tenths(values) for name, values in record.samples.items()}
    for vital in (*vitals.VITALS, *vitals.IN_USE):
        if vital.name not in spans:
            continue  # this system does not tell
        first, last = spans[vital.name]
        is_flat = vital.is_flat(first, last) if options.seconds >= LONG else None
        value = f"{first:.4g} -> {last:.4g}"
        if is_flat is None:
            made.tell(vital.name, value)
        else:
            made.promise(vital.name, value, vital.promise, is_flat)
    made.note(
        "The last lines are medians of the first and the last tenth of the samples, one each "
        f"{SAMPLE:g} s, of the worker that nobody hurt and of Redis; objects and malloc are what "
        "its processes saw of themselves after a tenth and at the end, with all garbage collected."
    )
    made.note(
        "Keys and memory of the charts grow by the minute, for eight hours, whatever the load; "
        "they are counted apart."
    )
    if options.seconds < LONG:
        made.note(f"Shorter than {LONG:g} s, a soak is all warm-up: nothing is said of growth.")
    return made
