"""
``python -m tests.store.mutants``: hunt all mutants on a server of one's own.

Each is put through its story, and prints what killed it. Exits with 1 where one lives, or where a
story does not hold on the real scripts.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

from tests.store.mutants import MUTANTS, Mutant
from tests.store.stories import MORE_STORIES, STORIES, Story
from tests.store.stories.play import playing
from tests.support.server import RedisServer


def main() -> int:
    """Print a line a mutant and the sum; return the exit code."""
    began = time.monotonic()
    living, caught = [], Counter[str]()
    with RedisServer() as server:
        for story in dict.fromkeys((*STORIES.values(), *MORE_STORIES)):
            if (why := _failure(server, story)) is not None:
                _tell(f"the story {story.__name__} does not hold on the real scripts: {why}")
                return 1
        for mutant in sorted(MUTANTS, key=lambda mutant: mutant.verb):
            mutant.verbs()
            story = STORIES[mutant.name]
            why = _failure(server, story, mutant)
            told = "LIVES" if why is None else story.__name__
            _tell(f"{mutant.verb:9} {mutant.name:68} {told}")
            if why is None:
                living.append(mutant.name)
            else:
                caught[mutant.verb] += 1
    _tell("")
    for verb, count in sorted(caught.items()):
        _tell(f"{verb:9} {count:3} of {sum(mutant.verb == verb for mutant in MUTANTS)}")
    seconds = time.monotonic() - began
    _tell(
        f"{caught.total()} of {len(MUTANTS)} mutants of {len(caught)} scripts die, {seconds:.0f} s"
    )
    return int(bool(living))


def _failure(server: RedisServer, story: Story, mutant: Mutant | None = None) -> str | None:
    """Play a story; return what was noticed, None where all is well."""
    with playing(server, mutant) as play:
        try:
            story(play)
        except AssertionError as error:
            return str(error).partition("\n")[0] or "an assertion"
    return None


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
