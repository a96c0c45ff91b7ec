"""What a race of peers finds besides the figures of each."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.race import Race


@dataclass(slots=True)
class PeerRace(Race):
    """
    The race of the peers, and what else a table of them says.

    ``about`` tells of each what it is and how much it was given to do, ``skipped`` why one
    is not in ``runs``, and ``lost`` how many jobs were gone after the kills.
    """

    about: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
