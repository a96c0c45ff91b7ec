"""
``python -m tests.model``: search all settings, hunt all mutants, try moves on the real scripts.

Exits with 1 where a promise is broken, a mutant lives, or Redis does other than the model says.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from django_jobqueue.store.store import Store
from tests.model.mutants import MUTANTS
from tests.model.protocol import Protocol
from tests.model.reality import Reality
from tests.model.replay import edges_of, try_edges, walk
from tests.model.search import Search
from tests.model.settings import LONG, SETTINGS
from tests.support.prefixes import new_prefix
from tests.support.server import RedisServer


def main() -> int:
    """Print the tables; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--long", action="store_true", help="search the larger settings as well")
    parser.add_argument("--traces", action="store_true", help="show how each mutant was caught")
    parser.add_argument("--replay", type=int, default=1000, help="moves to try of each setting")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    failed = False
    searches: list[Search] = []
    tell(f"{'setting':48} {'faults':>6} {'states':>9} {'moves':>9} {'depth':>5} {'CPU':>7}")
    for setting in (*SETTINGS, *(LONG if options.long else ())):
        search = Search(Protocol(setting))
        found = search.run()
        searches.append(search)
        tell(
            f"{setting.name:48} {setting.faults:6} {found.states:9,} {found.transitions:9,}"
            f" {found.depth:5} {found.seconds:6.1f}s  {'holds' if not found.failure else ''}"
        )
        if found.failure:
            failed = True
            tell(found.failure)
    caught = 0
    tell(f"\n{'mutant':72} {'moves':>5}  caught by")
    for mutant in MUTANTS:
        failure = Search(Protocol(mutant.setting, mutant.rules)).run().failure
        caught += failure is not None
        length = len(failure.trace) if failure else 0
        tell(f"{mutant.name:72} {length:5}  {failure.promise if failure else 'nothing: it lives'}")
        if failure and options.traces:
            tell(failure)
    tell(f"{caught} of {len(MUTANTS)} mutants caught")
    if options.replay:
        failed |= not _replay(searches, options.replay, options.seed)
    return int(failed or caught < len(MUTANTS))


def tell(text: object) -> None:
    """Write one line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _replay(searches: list[Search], count: int, seed: int) -> bool:
    chance, tried, began = random.Random(seed), 0, time.monotonic()
    with RedisServer() as server, server.client() as client:
        for search in searches:
            store = Store(server.socket_url, prefix=new_prefix("m"), timeout=10.0)
            reality = Reality(client, store, search.protocol.setting)
            edges = edges_of(search)
            try:
                tried += try_edges(reality, chance.sample(edges, min(count, len(edges))))
                tried += sum(walk(reality, search.protocol, chance) for _ in range(10))
            except AssertionError as wrong:
                tell(f"\nThe real scripts do other than the model (seed {seed}): {wrong}")
                return False
            finally:
                store.close()
    seconds = time.monotonic() - began
    tell(f"\n{tried:,} moves tried on the real scripts, as the model says ({seconds:.0f} s)")
    tell(f"seed {seed}")
    return True


if __name__ == "__main__":
    sys.exit(main())
