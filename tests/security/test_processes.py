"""What a worker process is to its machine: no more rights than it was given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.acceptance.site import Site
from tests.jobsite.jobs import NoopJob
from tests.support.procfs import children_of


def status(pid: int) -> dict[str, str]:
    """Return what the system tells of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@pytest.mark.parametrize("umask", [0o027, 0o077])
def test_a_worker_changes_neither_its_umask_nor_its_user(site: Site, umask: int) -> None:
    worker = site.run_after(f"os.umask({umask})", "--concurrency", "1")
    site.push(NoopJob, "one")
    site.await_finished("one")
    ours = status(os.getpid())
    children = children_of(worker.pid)
    assert children
    for pid in (worker.pid, *children):
        found = status(pid)
        assert int(found["Umask"], 8) == umask
        assert [found[each] for each in ("Uid", "Gid")] == [ours[each] for each in ("Uid", "Gid")]


def test_a_worker_of_root_says_so_and_another_does_not(site: Site) -> None:
    worker = site.run_ready()
    is_root = os.geteuid() == 0
    assert ("running as root: give the worker a user of its own" in worker.output()) == is_root


def test_a_worker_listens_nowhere_unless_it_is_told_to(site: Site) -> None:
    worker = site.run_ready()
    for pid in (worker.pid, *worker.children()):
        sockets = {
            link.removeprefix("socket:[").removesuffix("]")
            for each in Path(f"/proc/{pid}/fd").iterdir()
            if (link := os.readlink(each)).startswith("socket:[")
        }
        listening = {
            fields[9]
            for table in ("tcp", "tcp6")
            if (path := Path(f"/proc/{pid}/net/{table}")).exists()
            for fields in map(str.split, path.read_text().splitlines()[1:])
            if fields[3] == "0A"
        }
        assert not sockets & listening
