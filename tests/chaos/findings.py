"""The lines that most reports have, each with one wording and one rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from tests.acceptance.site import LEASE
from tests.chaos.faults import Strike
from tests.chaos.kills import Kill, Killer
from tests.chaos.recovery import Spread
from tests.chaos.report import Report, bound
from tests.chaos.scene import Scene

#: Seconds within which what a killed process held is free again: where its supervisor lives, and
#: beyond the lease where nobody of its group does.
WITH_SUPERVISOR, BEYOND_LEASE = 3.0, 15.0


def tell_strikes(report: Report, strikes: Sequence[Strike]) -> int:
    """Tell which faults hit something, and return how many."""
    hits = Counter(strike.name for strike in strikes if strike.has_hit)
    report.tell("faults that hit", hits.total())
    for name, count in sorted(hits.items()):
        report.tell(f"  {name}", count)
    report.tell("faults that hit nothing", len(strikes) - hits.total())
    return hits.total()


def tell_losses(report: Report, stage: Scene, accepted: Collection[str], hits: int) -> None:
    """Tell what was lost, which must be nothing, and what was done twice."""
    stage.ledger.read()
    lost = stage.ledger.missing(accepted)
    report.promise("lost", len(lost), "none", not lost)
    report.tell("  losses a fault", bound(len(lost), hits))
    report.tell("double starts", stage.ledger.double_starts().total())
    report.tell("double completions", stage.ledger.double_finishes().total())
    report.tell("fenced", stage.site.counter("fenced"))
    report.tell("recovered", stage.site.counter("recovered"))


def tell_doubles(report: Report, stage: Scene) -> None:
    """Tell whether each double start has its reason: a killed process that held the job."""
    unexplained = stage.ledger.double_starts() - stage.killer.begun()
    promise = "whatever started again had been begun by a killed process"
    report.promise("double starts unexplained", unexplained.total(), promise, not unexplained)


def tell_recovery(report: Report, killer: Killer, slack: float | None) -> None:
    """Tell how long recovery took; it is promised unless other faults hindered it (None)."""
    children = [kill for kill in killer.kills if not kill.of_a_group]
    groups = [kill for kill in killer.kills if kill.of_a_group]
    _tell_spread(report, "recovery with a supervisor", children, WITH_SUPERVISOR, slack)
    _tell_spread(report, "recovery without", groups, LEASE + BEYOND_LEASE, slack)


def _tell_spread(
    report: Report, name: str, kills: Sequence[Kill], limit: float, slack: float | None
) -> None:
    spread = Spread.of(kills)
    if spread is None:
        report.tell(name, "nobody was killed")
    elif slack is None:
        report.tell(name, str(spread))
    else:
        promise = f"{limit:g} s at most" + (f", and {slack:g} s of slack" if slack else "")
        kept = spread.count == len(kills) and spread.most <= limit + slack
        report.promise(name, str(spread), promise, kept)


def tell_end(report: Report, stage: Scene, is_settled: bool) -> None:
    """Tell whether everything came to rest. To be asked when the crew has stopped."""
    end = "at the end no job waits and no claim is held"
    report.promise("settled", "yes" if is_settled else "no", end, is_settled)
    bad = [code for code in stage.crew.codes if code]
    report.promise("exit codes", bad or 0, "whoever is asked to stop ends with 0", not bad)
    left = [*stage.site.identities(), *stage.site.held(), *stage.site.leftovers()]
    report.promise("left behind", left or 0, "no lease, no claim, no key of a process", not left)
