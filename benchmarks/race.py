"""Contenders that take turns, and the ratios between them: equal runs may differ by 40 %."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Self

from benchmarks import machine

#: What one run of a contender found: figures by name.
Figures = dict[str, float]
Contender = Callable[[], Figures]

#: The figure that every run has: seconds that the host kept from us meanwhile.
STOLEN = "stolen s"


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    One figure of ours against the same of something beside us.

    ``value`` is the ratio of the medians (with ``difference`` their difference),
    ``pairs`` the same of each round, ``goal`` the bound it is held to:
    ``"least"`` or ``"most"`` that. ``later`` is the goal of the long run.
    """

    what: str
    value: float
    pairs: list[float]
    goal: float | None
    bound: str
    later: float | None
    difference: bool = False

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        return self._meets(self.goal)

    @property
    def is_met_later(self) -> bool | None:
        """Whether the goal of the long run is met already; None without one."""
        return self._meets(self.later)

    def _meets(self, goal: float | None) -> bool | None:
        if goal is None:
            return None
        return self.value >= goal if self.bound == "least" else self.value <= goal


@dataclass(slots=True)
class Race:
    """
    What one measure found: its runs by contender, what is compared, and what else there is to say.
    """

    name: str
    title: str
    runs: dict[str, list[Figures]]
    comparisons: list[Comparison] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def run(
        cls,
        name: str,
        title: str,
        contenders: Mapping[str, Contender],
        rounds: int,
        *,
        warm_up: int = 1,
    ) -> Self:
        """Let each contender run in turn, ``rounds`` times after a turn or more to warm up."""
        race = cls(name, title, {contender: [] for contender in contenders})
        for number in range(rounds + warm_up):
            for contender, run in contenders.items():
                before = machine.stolen()
                figures = run()
                figures[STOLEN] = machine.stolen() - before
                if number >= warm_up:
                    race.runs[contender].append(figures)
        return race

    def figures(self, contender: str, figure: str) -> list[float]:
        """Return one figure of all runs of a contender."""
        return [run[figure] for run in self.runs[contender]]

    def compare(
        self,
        ours: str,
        theirs: str,
        figure: str,
        *,
        goal: float | None = None,
        later: float | None = None,
        bound: str = "least",
        difference: bool = False,
    ) -> None:
        """Hold a figure of ours against theirs, and to goals: at ``"least"`` or at ``"most"``."""
        a, b = self.figures(ours, figure), self.figures(theirs, figure)

        def against(x: float, y: float) -> float:
            return x - y if difference else x / y

        self.comparisons.append(
            Comparison(
                f"{ours} {'minus' if difference else '/'} {theirs}, {figure}",
                against(median(a), median(b)),
                [against(x, y) for x, y in zip(a, b, strict=True)],
                goal,
                bound,
                later,
                difference,
            )
        )

    def hold_to(
        self,
        ours: str,
        figure: str,
        *,
        goal: float | None = None,
        later: float | None = None,
        bound: str = "least",
    ) -> None:
        """Hold a figure of ours to goals that are absolute."""
        values = self.figures(ours, figure)
        self.comparisons.append(
            Comparison(f"{ours}, {figure}", median(values), values, goal, bound, later)
        )
