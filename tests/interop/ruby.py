"""Sidekiq as it is installed: whether it is there, its code to be asked, and its worker."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.procfs import kill_session
from tests.support.reaper import reaper

#: How to get what these tests need.
WAY_OUT = "apt install ruby-sidekiq, which is Sidekiq 6.4 in Debian 12"

#: What they are written for: the calls of its API differ between versions.
REQUIREMENT = "~> 6.4.1"

_HERE = Path(__file__).parent
_JOBS = _HERE / "jobs.rb"
_SERVER = _HERE / "sidekiq.rb"

_PROBE = f"""
gem "sidekiq", "{REQUIREMENT}"
require "sidekiq"
require "rack"
print "Sidekiq #{{Sidekiq::VERSION}}, Ruby #{{RUBY_VERSION}}"
"""


def missing() -> str | None:
    """Return what is not here, for people; None where everything is."""
    if shutil.which("ruby") is None:
        return "Ruby"
    if shutil.which("sidekiq") is None:
        return "Sidekiq"
    probe = subprocess.run(["ruby", "-e", _PROBE], capture_output=True, text=True, check=False)
    return None if probe.returncode == 0 else f"Sidekiq {REQUIREMENT} with Rack"


@dataclass(frozen=True, slots=True)
class Page:
    """What Sidekiq::Web answered."""

    status: int
    body: str
    location: str | None


class Ruby:
    """
    A Ruby process that has Sidekiq's client, API and Web, on the Redis of ``env``.

    ``ruby("|jid| Sidekiq::RetrySet.new.find_job(jid).at", jid)`` calls a block there, and
    returns what it returned, as JSON has it; times are epoch seconds.
    A context manager: at its end the process is killed.
    """

    def __init__(self, env: Mapping[str, str], log_path: Path) -> None:
        self._log_path = log_path
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                ["ruby", str(_SERVER)],
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        reaper().watch(self._process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        kill_session(self._process.pid)
        self._process.communicate()
        reaper().forget(self._process.pid)

    def __call__(self, block: str, *args: Any) -> Any:
        """Call a block with arguments. Raises: AssertionError with what was raised there."""
        return self._ask({"ruby": block, "args": args})["value"]

    def page(self, path: str) -> Page:
        """Return a page of Sidekiq::Web."""
        return Page(**self._ask({"path": path}))

    def post(self, path: str, **form: str) -> Page:
        """Post a form to Sidekiq::Web."""
        return Page(**self._ask({"path": path, "form": form}))

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(request).encode() + b"\n")
        stdin.flush()
        line = stdout.readline()
        assert line, f"Ruby is gone.\n{self._log_path.read_text(errors='replace')}"
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise AssertionError("\n".join([answer["error"], *answer["at"]]))
        return answer


def worker_command(*queues: str) -> list[str]:
    """
    Return the command of Sidekiq's worker with the jobs of the Ruby side.

    It is left more time to stop (``-t``) than its threads wait in BRPOP, which is 2 s: one that
    waits still would take what the stop gives back, and lose it.
    """
    chosen = [word for name in queues for word in ("-q", name)]
    return ["sidekiq", "-r", str(_JOBS), "-c", "2", "-t", "4", *chosen]
