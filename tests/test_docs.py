"""The documents name what there is, and nothing that there is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from django_jobqueue import conf

PROJECT = Path(__file__).resolve().parent.parent


def test_every_setting_is_documented_and_no_other() -> None:
    text = (PROJECT / "docs" / "settings.rst").read_text()
    documented = {
        name
        for line in text.splitlines()
        if re.match(r"^``[A-Z_]+``", line)
        for name in re.findall(r"``([A-Z_]+)``", line)
    }
    assert documented == {name.upper() for name in conf.Settings.__dataclass_fields__}


@pytest.mark.parametrize(
    "document", sorted(PROJECT.glob("*.rst")) + sorted(PROJECT.glob("docs/*.rst"))
)
def test_links_to_files_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"<([^<>:\s]+\.(?:rst|md|py))>`_", document.read_text()):
        assert (document.parent / target).is_file(), target


def test_the_readme_shows_a_job_by_line_40_and_stays_short() -> None:
    lines = (PROJECT / "README.rst").read_text().splitlines()
    assert any("perform_async(7)" in line for line in lines[:40])
    assert len(lines) < 250
