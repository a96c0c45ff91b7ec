"""What operators send through Redis, as Sidekiq's Web does, and what is no order at all."""

from __future__ import annotations

from tests.acceptance.site import SOON, Site, count_lines
from tests.jobsite.jobs import NoopJob
from tests.support.polling import wait_until


def test_a_process_that_is_stopped_from_afar_stays_stopped_and_junk_stops_nobody(
    site: Site,
) -> None:
    worker = site.run_ready("--processes", "2", "--concurrency", "1")
    wait_until(lambda: len(site.identities()) == 2, SOON, "both children")
    one, other = site.identities()

    def send(identity: str, name: str) -> None:
        site.redis.lpush(site.keys.signals(identity), name)

    # One is taken a beat, the right end first: what is no order is passed over.
    send(other, "KILL\xff\n9")
    send(other, "9")
    send(one, "TSTP")
    worker.wait_for_line("quiet: no more jobs are taken")
    site.push(NoopJob, "by-the-other")
    site.await_finished("by-the-other")
    send(one, "TERM")
    worker.wait_for_line("was stopped by itself; none takes its place")
    wait_until(lambda: site.identities() == [other], SOON, "the lease to go")
    assert len(worker.children()) == 1
    site.push(NoopJob, "after")
    site.await_finished("after")
    wait_until(lambda: not site.redis.llen(site.keys.signals(other)), SOON, "two beats")
    # The last one takes the supervisor along.
    send(other, "TERM")
    assert worker.wait() == 0
    assert count_lines(worker.output(), " died", "none takes its place") == [0, 2]
    assert site.leftovers() == []
