"""Tests of the cellar, all on a real server."""

import pytest

# The machine asserts, and is no test module.
pytest.register_assert_rewrite(
    "tests.store.cellar",
    "tests.store.workers",
    "tests.store.rescuers",
    "tests.store.healers",
    "tests.store.actors",
    "tests.store.stories.play",
    "tests.store.stories.places",
    "tests.store.stories.flushes",
    "tests.store.stories.records",
)
