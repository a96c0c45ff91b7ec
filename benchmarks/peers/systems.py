"""The systems that stand beside us, each with the settings that suit it best."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any, ClassVar

import redis

from benchmarks.peers.peer import APPS, Command, Environment, Peer, Unavailable, answer
from benchmarks.peers.venv import Venv

#: redis-py with its parser in C, as we have it.
_REDIS = "redis[hiredis]"

#: Asks the interpreter of a peer for what it runs.
_VERSION = (
    "import sys, platform; from importlib.metadata import version; "
    "print(version(sys.argv[1]), platform.python_version())"
)


class PythonPeer(Peer):
    """A system in Python: a venv with its packages, and ``apps/NAME_app.py``."""

    #: Its name for people, what pip installs, and which of that is the system itself.
    title: ClassVar[str]
    requirements: ClassVar[tuple[str, ...]]
    package: ClassVar[str]

    #: The module in ``apps/``.
    app: ClassVar[str]

    def __init__(self) -> None:
        self.venv = Venv(self.package, self.requirements)

    def prepare(self) -> None:
        """Make its venv once. Raises: Unavailable when pip cannot."""
        self.venv.prepare()

    def versions(self) -> str:
        """Return its version and Python's."""
        package, python = answer([self.venv.python, "-c", _VERSION, self.package], {}).split()
        return f"{self.title} {package}, Python {python}"

    def producer_command(self) -> Command:
        """Return the command of a process that enqueues what it is told."""
        return [self.venv.python, str(APPS / "produce.py"), self.app]

    def environment(self) -> Environment:
        """Let its processes find the jobs, and nothing of ours."""
        # Celery would look for a Django project where this is set.
        return {"PYTHONPATH": str(APPS), "DJANGO_SETTINGS_MODULE": ""}


class Brpop(PythonPeer):
    """A loop of redis-py's BRPOP: what people write before they take a job system."""

    name = "brpop"
    title = "BRPOP loop, redis-py"
    settings = "1 thread (10 where it is killed)"
    requirements = (_REDIS,)
    package = "redis"
    app = "brpop_app"
    queue = "queue"
    concurrency = 1
    share = 0.5
    has_bulk = True

    def command(self, *, concurrency: int, number: int = 0) -> Command:
        """Return the loop in so many threads."""
        return [self.venv.python, str(APPS / "brpop_app.py"), str(concurrency)]


class RQ(PythonPeer):
    """RQ as it comes: a process is forked for each job."""

    name = "rq"
    title = "RQ"
    settings = "one job at a time, a fork for each"
    requirements = ("rq", _REDIS)
    package = "rq"
    app = "rq_app"
    queue = "rq:queue:default"
    concurrency = 1
    share = 0.005
    pause = 0.1
    has_bulk = True
    worker_class: ClassVar[str] = "rq.Worker"

    def command(self, *, concurrency: int, number: int = 0) -> Command:
        """Return the worker, which does one job at a time whatever is asked for."""
        return [
            self.venv.script("rq"), "worker", "--quiet", "--worker-class", self.worker_class,
            "default",
        ]  # fmt: skip

    def at(self, url: str, **files: Any) -> Environment:
        """Tell the worker where its Redis is, too."""
        return {**super().at(url, **files), "RQ_REDIS_URL": url}


class SimpleRQ(RQ):
    """RQ without the forks."""

    name = "rq-simple"
    settings = "SimpleWorker, one job at a time"
    share = 0.01
    pause = 0.05
    worker_class = "rq.SimpleWorker"


class Celery(PythonPeer):
    """Celery, which acknowledges a job before it runs it."""

    name = "celery"
    title = "Celery"
    settings = "10 threads (-P threads, faster here than prefork)"
    requirements = ("celery[redis]", _REDIS)
    package = "celery"
    app = "celery_app"
    queue = "celery"
    share = 0.05
    pause = 0.02

    def command(self, *, concurrency: int, number: int = 0) -> Command:
        """Return the worker, quiet, without the gossip that it needs for nothing here."""
        return [
            self.venv.script("celery"), "--app", self.app, "--quiet", "worker",
            "--pool", "threads", "--concurrency", str(concurrency),
            "--loglevel", "ERROR", "--hostname", f"{self.name}{number}@%h",
            "--without-gossip", "--without-mingle",
        ]  # fmt: skip


class LateCelery(Celery):
    """Celery that acknowledges a job after it ran."""

    name = "celery-late"
    settings = "the same, acks_late"

    def environment(self) -> Environment:
        """Ask the app for late acknowledgement."""
        return {**super().environment(), "BENCHMARK_ACKS_LATE": "1"}


class Dramatiq(PythonPeer):
    """dramatiq, which acknowledges a job after it ran."""

    name = "dramatiq"
    title = "dramatiq"
    settings = "10 threads"
    requirements = ("dramatiq[redis]", _REDIS)
    package = "dramatiq"
    app = "dramatiq_app"
    queue = "dramatiq:default"
    share = 0.2

    def command(self, *, concurrency: int, number: int = 0) -> Command:
        """Return a worker of one process and its parent."""
        return [
            self.venv.script("dramatiq"), "--processes", "1", "--threads", str(concurrency),
            self.app,
        ]  # fmt: skip


class Huey(PythonPeer):
    """huey, which takes a job off its list and runs it."""

    name = "huey"
    title = "huey"
    settings = "10 threads"
    requirements = ("huey", _REDIS)
    package = "huey"
    app = "huey_app"
    queue = "huey.redis.benchmark"
    share = 0.2

    def command(self, *, concurrency: int, number: int = 0) -> Command:
        """Return the consumer, without periodic tasks."""
        return [
            self.venv.script("huey_consumer"), f"{self.app}.huey", "--workers", str(concurrency),
            "--worker-type", "thread", "--quiet", "--no-periodic",
        ]  # fmt: skip


class Sidekiq(Peer):
    """Sidekiq, the one of the machine's own Ruby."""

    name = "sidekiq"
    settings = "10 threads"
    queue = "queue:default"
    share = 0.5
    has_bulk = True

    def prepare(self) -> None:
        """Look for it. Raises: Unavailable where it is not installed."""
        if shutil.which("ruby") is None or shutil.which("sidekiq") is None:
            raise Unavailable("Sidekiq is not installed: there is no ruby or no sidekiq on PATH")
        try:
            self.versions()
        except subprocess.CalledProcessError as error:
            raise Unavailable(f"Sidekiq does not start: {error.stderr.strip()}") from error

    def versions(self) -> str:
        """Return its version and Ruby's."""
        said = answer(
            ["ruby", "-e", "require 'sidekiq'; puts Sidekiq::VERSION, RUBY_VERSION"],
            self.environment(),
        )
        sidekiq, ruby = said.split()
        return f"Sidekiq {sidekiq}, Ruby {ruby}"

    def command(self, *, concurrency: int, number: int = 0) -> Command:
        """Return the process; what it logs is set in the app."""
        return [
            "sidekiq", "--require", str(APPS / "sidekiq_app.rb"),
            "--concurrency", str(concurrency), "--queue", "default",
        ]  # fmt: skip

    def producer_command(self) -> Command:
        """Return the command of a process that enqueues what it is told."""
        return ["ruby", str(APPS / "sidekiq_produce.rb")]

    def at(self, url: str, **files: Any) -> Environment:
        """Tell it where its Redis is, under the name that it looks for."""
        return {**super().at(url, **files), "REDIS_URL": url}

    def counted(self, client: redis.Redis) -> int | None:
        """Return what its statistics say, which a process writes when it stops."""
        processed: Any = client.get("stat:processed")
        failed: Any = client.get("stat:failed")
        return int(processed or 0) - int(failed or 0)
