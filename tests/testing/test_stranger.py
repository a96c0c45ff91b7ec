"""A project of somebody else's tests its jobs, where there is no Redis."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STRANGER = Path(__file__).parent / "stranger"

#: What our own pytest would tell one that runs below it.
_OURS = ("PYTEST", "DJANGO_", "JOBQUEUE")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project, in a place of its own."""
    place = tmp_path / "shop"
    shutil.copytree(STRANGER, place, ignore=shutil.ignore_patterns("__pycache__"))
    (place / "__init__.py").unlink()  # only here it is a package
    return place


def run(project: Path, *arguments: str) -> str:
    """Run Python in a project and return all that it says; fails where it does."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=project, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_its_test_cases_pass_in_parallel(project: Path) -> None:
    said = run(project, "manage.py", "test", "--parallel", "2", "--shuffle")
    assert "Ran 16 tests" in said


def test_its_pytest_tests_pass_in_parallel(project: Path) -> None:
    (project / "pytest.ini").write_text(
        "[pytest]\nDJANGO_SETTINGS_MODULE = settings\nfilterwarnings = error\n"
    )
    said = run(project, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", "orders/pytests.py")
    assert "9 passed" in said


def test_a_project_without_settings_is_not_disturbed(project: Path) -> None:
    (project / "test_sums.py").write_text(
        "from django.conf import settings\n"
        "def test_sums(pytestconfig):\n"
        "    assert pytestconfig.pluginmanager.hasplugin('django_jobqueue')\n"
        "    assert not settings.configured\n"
    )
    (project / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    said = run(project, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:django", "test_sums.py")
    assert "1 passed" in said
