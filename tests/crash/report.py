"""What came of all lives, as a table and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.crash.fuse import MARK, SQL

#: How a life was lived: turned by hand; so, and the next one was killed, too; with all its
#: threads; as a child of ``runjobs``.
BY_HAND, TWICE, THREADED, SUPERVISED = "by hand", "twice", "threads", "runjobs"

#: These by chance, for the table.
BY_CHANCE = {
    TWICE: "two workers, one after the other",
    THREADED: "a worker with all its threads",
    SUPERVISED: "a child of runjobs",
}

#: What is wrong begins with one of these, or with another word.
LOST, DOUBLE = "lost", "double"


@dataclass(slots=True)
class Outcome:
    """
    One life and its crash.

    ``call`` is the name of the step that it died at, empty where it did not come so far.
    The doubles are starts and ends of jobs that were in flight, once more than without.
    """

    how: str
    where: str
    call: str
    wrong: list[str] = field(default_factory=list)
    double_starts: int = 0
    double_finishes: int = 0

    def __str__(self) -> str:
        return "\n    ".join(
            [f"{self.how}: {self.where}: {self.call or 'not reached'}", *self.wrong]
        )


@dataclass(slots=True)
class Report:
    """All that was done: ``steps`` are the names of the steps of one life, in their order."""

    steps: list[str] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    versions: str = ""
    seconds: float = 0.0

    @property
    def crashes(self) -> int:
        """How many processes were killed where they were meant to be."""
        return sum(bool(outcome.call) for outcome in self.outcomes)

    @property
    def bad(self) -> list[Outcome]:
        """The lives that ended in something that must not be."""
        return [outcome for outcome in self.outcomes if outcome.wrong]

    def add(self, other: Report) -> None:
        """Take in what another process did."""
        self.steps = self.steps or other.steps
        self.versions = self.versions or other.versions
        self.outcomes += other.outcomes

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON can say it."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Report:
        """Return what ``as_json`` said."""
        outcomes = [Outcome(**outcome) for outcome in found.pop("outcomes")]
        return cls(outcomes=outcomes, **found)

    def lines(self) -> Iterator[str]:
        """Yield the table."""
        kinds = Counter(map(_kind, self.steps))
        yield f"one life: {len(self.steps)} steps, of which {kinds['redis']} calls to Redis,"
        yield f"  {kinds[SQL]} writes to the database, {kinds[MARK]} starts and ends of jobs"
        if self.versions:
            yield f"on {self.versions}"
        yield ""
        yield _line("step", ("steps", "crashes", "lost", "double", "again", "done again"))
        counted = Counter(map(_row, self.steps))
        by_hand = [outcome for outcome in self.outcomes if outcome.how == BY_HAND]
        for row in sorted(counted):
            here = [outcome for outcome in by_hand if outcome.call and _row(outcome.call) == row]
            yield _line(row, (counted[row], *_figures(here)))
        yield _line("all, turned by hand", (len(self.steps), *_figures(by_hand)))
        for how, told in BY_CHANCE.items():
            here = [outcome for outcome in self.outcomes if outcome.how == how]
            if here:
                yield _line(f"by chance: {told}", ("", *_figures(here)))
        yield ""
        yield "again: starts of a job in flight once more; done again: ends of one once more"
        yield f"{self.crashes} crashes, {len(self.bad)} violations, in {self.seconds:.0f} s"
        for outcome in self.bad:
            yield str(outcome)


def _line(name: str, figures: Iterable[object]) -> str:
    return f"{name:46}" + "".join(f"{figure!s:>11}" for figure in figures)


def _figures(outcomes: list[Outcome]) -> tuple[int, ...]:
    lost, double = (
        sum(any(line.startswith(word) for line in outcome.wrong) for outcome in outcomes)
        for word in (LOST, DOUBLE)
    )
    return (
        sum(bool(outcome.call) for outcome in outcomes),
        lost,
        double,
        sum(outcome.double_starts for outcome in outcomes),
        sum(outcome.double_finishes for outcome in outcomes),
    )


def _kind(step: str) -> str:
    word = step.partition(" ")[0]
    return word if word in (MARK, SQL) else "redis"


def _row(step: str) -> str:
    """Return what a step counts as in the table."""
    kind, _, rest = step.partition(" ")
    if kind == MARK:
        return f"a job {rest.split()[-1]}"
    if kind == SQL:
        return rest.replace('"', "").replace("django_jobqueue_", "")
    words = dict.fromkeys(step.split("+"))
    return "+".join(words)
