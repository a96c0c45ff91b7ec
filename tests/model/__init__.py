"""An exhaustive model of the protocol: every interleaving of a few processes and a few faults."""

import pytest

# They assert, and are no test modules.
pytest.register_assert_rewrite("tests.model.reality")
