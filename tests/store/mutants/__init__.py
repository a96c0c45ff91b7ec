"""
The scripts with one fault each: what the tests of the store must be able to see.

``python -m tests.store.mutants`` hunts all of them and prints which story each dies in.
"""

from __future__ import annotations

from tests.store.mutants import claims, locks, places, records
from tests.store.mutants.mutant import Mutant

__all__ = ["MUTANTS", "Mutant"]

MUTANTS = (*claims.MUTANTS, *places.MUTANTS, *locks.MUTANTS, *records.MUTANTS)
