"""The manual explains every kind of finding, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from django_jobqueue import doctor

ROOM = Path(doctor.__file__).parent
MANUAL = ROOM.parent.parent / "docs" / "howto" / "doctor.rst"


def kinds() -> set[str]:
    """Return the ids of all findings, as the code spells them."""
    found = set()
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                first = node.args[0] if node.args else None
                if node.func.id in ("fault", "warning", "note", "make") and isinstance(
                    first, ast.Constant
                ):
                    found.add(str(first.value))
    return found


def test_every_kind_of_finding_is_in_the_manual_and_no_other() -> None:
    heads = re.findall(r"^(``.*)\n {4}\S", MANUAL.read_text(), re.MULTILINE)
    explained = [word for head in heads for word in re.findall(r"``([a-z-]+)``(?= \()", head)]
    assert len(explained) == len(set(explained))
    assert set(explained) == kinds()
