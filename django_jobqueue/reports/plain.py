"""Turn what is reported into plain JSON, the same way everywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any


class Plain:
    """A dataclass that can be written as JSON."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """
        Return all fields as JSON holds them.

        Times are texts in ISO 8601, in UTC where the field does not say otherwise; what has no
        end (``math.inf``) is None.
        """
        found: dict[str, Any] = plain(self)
        return found


def plain(value: Any) -> Any:
    """Return a value as JSON holds it. Raises: TypeError for one that it cannot hold."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, str):
        return str(value)  # also what is translated late, or a text of a class of its own
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, frozenset, set)):
        members = sorted(value) if isinstance(value, (frozenset, set)) else value
        return [plain(each) for each in members]
    raise TypeError(f"{value!r} cannot be written as JSON")
