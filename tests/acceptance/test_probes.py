"""Probes of a real worker: through an outage of Redis, a long job and a stop."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.acceptance.conftest import MakeSite
from tests.acceptance.site import SOON
from tests.jobsite.jobs import WaitJob
from tests.support.polling import wait_until
from tests.support.server import RedisServer


def get(port: str, path: str) -> tuple[int, dict[str, Any]]:
    """Return the status and the body of an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_worker_is_live_throughout_and_ready_while_it_takes_jobs(
    private_redis: Callable[..., RedisServer], make_site: MakeSite
) -> None:
    server = private_redis(appendfsync="always")
    site = make_site(server)
    ready, live = (site.journal.path.with_name(name) for name in ("ready", "live"))
    go_on = site.journal.path.with_name("go on")
    worker = site.run_ready(
        "--concurrency", "1", "--probe-port", "0", "--ready-file", str(ready),
        "--live-file", str(live),
    )  # fmt: skip
    found = re.search(r"http://127\.0\.0\.1:(\d+)/live", worker.output())
    assert found
    port = found[1]

    def await_ready(status: int) -> dict[str, Any]:
        def ask() -> dict[str, Any] | None:
            got, body = get(port, "/ready")
            return body if got == status else None

        return wait_until(ask, SOON, lambda: f"{status}, not {get(port, '/ready')}")

    assert await_ready(200) == {"ready": True, "why": []}
    wait_until(lambda: ready.exists() and live.exists(), SOON, "both files")
    # All threads busy is ready: there will be a fetch when one is free.
    site.push(WaitJob, "long", str(go_on))
    site.await_started("long")
    assert get(port, "/ready")[0] == 200
    server.kill9()
    assert await_ready(503)["why"] == ["worker 1 cannot reach Redis"]
    wait_until(lambda: not ready.exists(), SOON, "the file to go")
    assert get(port, "/live") == (200, {"live": True, "why": []})
    assert live.exists()
    server.start()
    await_ready(200)
    wait_until(ready.exists, SOON, "the file to come back")
    worker.term()
    # The supervisor says so first.
    wait_until(
        lambda: "worker 1 is stopping" in get(port, "/ready")[1]["why"], SOON, "the worker to stop"
    )
    assert get(port, "/live")[0] == 200
    go_on.touch()
    assert worker.wait() == 0
    assert not ready.exists()
    assert not live.exists()
    assert site.journal.starts == {"long": 1}


def test_a_supervisor_that_is_killed_takes_its_probes_along(site: Any) -> None:
    ready = site.journal.path.with_name("ready")
    worker = site.run_ready("--ready-file", str(ready), "--timeout", "1")
    wait_until(ready.exists, SOON, "the file")
    worker.signal(9)
    wait_until(lambda: not worker.members(), SOON, "everybody to end")
    assert not ready.exists()
