"""Where an experiment happens: a Redis, a line to it that can be broken, and a crew at work."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.acceptance.site import Site
from tests.chaos.crew import Crew
from tests.chaos.kills import Killer
from tests.chaos.ledger import Ledger
from tests.support.proxy import TcpProxy
from tests.support.server import RedisServer


@dataclass(frozen=True, slots=True)
class Scene:
    """All that can be hurt, and who looks on. Workers reach Redis by the proxy, we directly."""

    server: RedisServer
    proxy: TcpProxy
    site: Site
    crew: Crew
    ledger: Ledger
    killer: Killer
    chance: random.Random

    def at_stake(self) -> int:
        """Return how many jobs are claimed at this moment: what a fault can hit."""
        return sum(self.site.held().values())


@contextmanager
def scene(
    server: RedisServer,
    directory: Path,
    seed: int,
    *,
    by_proxy: bool = True,
    by: Literal["ident", "jid"] = "ident",
    concurrency: int = 10,
    elder_processes: int = 1,
    env: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Scene]:
    """
    Set the scene; at its end every worker is killed. The crew is not started yet.

    ``by_proxy`` is for faults of the line; without it, no byte has to pass it. The prefix
    is that of the settings.
    """
    with (
        TcpProxy(server.url) as proxy,
        Site(
            server,
            directory / "site",
            url=proxy.url if by_proxy else server.url,
            prefix=os.environ["JOBQUEUE_TEST_PREFIX"],
        ) as site,
    ):
        crew = Crew(
            site,
            concurrency,
            elder_processes=elder_processes,
            env=env or {},
            settings=settings or {},
        )
        ledger, chance = Ledger(site.journal, by), random.Random(seed)
        yield Scene(server, proxy, site, crew, ledger, Killer(crew, ledger, chance), chance)
