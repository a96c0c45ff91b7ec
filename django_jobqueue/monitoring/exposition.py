"""The figures as text that Prometheus reads, with nothing to install."""

from __future__ import annotations

import math
from collections.abc import Iterable

from django_jobqueue.monitoring.families import Family

#: The format, and which of it: Prometheus 3 takes no answer that does not say.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(families: Iterable[Family]) -> str:
    """Return families in the text format of Prometheus, version 0.0.4."""
    lines: list[str] = []
    for family in families:
        declared = family.declared
        lines.append(f"# HELP {family.name} {declared.help}")
        lines.append(f"# TYPE {family.name} {declared.kind}")
        for values, number in family.series.items():
            pairs = ",".join(
                f'{name}="{_escaped(value)}"'
                for name, value in zip(declared.labels, values, strict=True)
            )
            labels = f"{{{pairs}}}" if pairs else ""
            lines.append(f"{family.name}{labels} {_number(number)}")
    return "\n".join([*lines, ""])


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(number: float) -> str:
    if math.isfinite(number):
        return repr(number)
    return "NaN" if math.isnan(number) else "+Inf" if number > 0 else "-Inf"
