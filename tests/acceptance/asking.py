"""
A process that asks its kill switches all the time, and says when the answer is another one.

``python -m tests.acceptance.asking web`` only asks, as a web process does when it
enqueues; with ``worker`` it also watches, as a worker does.
"""

from __future__ import annotations

import sys
import time

import django

#: Seconds between two questions.
PAUSE = 0.005

#: What a process that may look at flags has among its apps.
APPS = "django.contrib.auth django.contrib.contenttypes waffle"


def main(role: str) -> None:
    """Ask until killed."""
    django.setup()
    from django_jobqueue.switches.switches import switches
    from django_jobqueue.switches.watcher import Watcher, load
    from tests.acceptance.site import payload
    from tests.jobsite.jobs import NoopJob, SleepJob

    if role == "worker":
        load()
        Watcher().start()
    jobs = {job.__name__: payload(job) for job in (NoopJob, SleepJob)}
    answers: dict[str, bool] = {}
    while True:
        for name, job in jobs.items():
            refused = switches().refuses(job)
            if refused is not answers.get(name):
                answers[name] = refused
                sys.stdout.write(f"{name} {'refused' if refused else 'accepted'} {time.time()}\n")
        time.sleep(PAUSE)


if __name__ == "__main__":
    main(sys.argv[1])
