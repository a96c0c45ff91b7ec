"""Environments of Python peers: one venv each, made once and kept in a cache."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.peer import Unavailable

#: Names the directory that holds the environments.
VARIABLE = "BENCHMARK_PEERS"

#: Seconds that pip may take.
_PATIENCE = 300.0

#: Lines of what pip said that are shown when it fails.
_TAIL = 3


def cache() -> Path:
    """Return the directory of the environments; the variable or the user's cache."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "django-jobqueue-peers")


class Venv:
    """
    A venv of this Python with the latest of some packages.

    It counts as there only with the list of what was asked for in it: what a broken
    download left is made anew.
    """

    def __init__(self, name: str, requirements: Sequence[str]) -> None:
        self._name = name
        self._requirements = "".join(f"{requirement}\n" for requirement in requirements)

    @property
    def path(self) -> Path:
        """Where it is: one for each version of Python."""
        major, minor = sys.version_info[:2]
        return cache() / f"{self._name}-py{major}.{minor}"

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.path / "bin" / "python")

    def script(self, name: str) -> str:
        """Return the path of a command that a package brought."""
        return str(self.path / "bin" / name)

    def prepare(self) -> None:
        """
        Make it, unless it is there. Two that want it at once make it once.

        Raises:
            Unavailable: pip could not.

        """
        cache().mkdir(parents=True, exist_ok=True)
        with (cache() / f"{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._is_there():
                shutil.rmtree(self.path, ignore_errors=True)
                # Without a pip of its own: ours can work there, and it takes long to install.
                self._run(sys.executable, "-m", "venv", "--without-pip", str(self.path))
                pip = (sys.executable, "-m", "pip", "--python", self.python)
                packages = self._requirements.split("\n")[:-1]
                self._run(*pip, "install", "--quiet", "--disable-pip-version-check", *packages)
                self._receipt.write_text(self._requirements)

    @property
    def _receipt(self) -> Path:
        return self.path / "requirements.txt"

    def _is_there(self) -> bool:
        try:
            return self._receipt.read_text() == self._requirements
        except OSError:
            return False

    def _run(self, *command: str) -> None:
        try:
            subprocess.run(  # noqa: S603, our own Python and its child
                command, check=True, capture_output=True, text=True, timeout=_PATIENCE
            )
        except subprocess.CalledProcessError as error:
            said = "; ".join(error.stderr.strip().splitlines()[-_TAIL:])
            raise Unavailable(f"{self._name} cannot be installed: {said}") from error
        except subprocess.TimeoutExpired as error:
            raise Unavailable(
                f"{self._name} cannot be installed: no end after {_PATIENCE:g} s"
            ) from error
