"""The pictures of the manual can be taken again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.browser import screenshots


def test_a_picture_is_taken_of_a_shop_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.browser.screenshots", "--only", "overview-phone"]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (picture,) = tmp_path.iterdir()
    assert picture.name == "overview-phone.png"
    header = picture.read_bytes()[:24]
    assert header[1:4] == b"PNG"
    assert int.from_bytes(header[16:20]) == 390


def test_the_manual_shows_every_picture_and_no_other() -> None:
    manual = screenshots.FOLDER.parents[1] / "howto" / "dashboard.rst"
    shown = {
        line.rpartition("/")[2].strip()
        for line in manual.read_text(encoding="utf-8").splitlines()
        if "/_static/dashboard/" in line
    }
    assert shown == {picture.name for picture in screenshots.FOLDER.iterdir()}
