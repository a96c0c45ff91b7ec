"""
Enqueue in a peer's environment: ``python produce.py APP``, then a JSON list a line.

APP is a module beside this one, with ``journal(ident, seconds)``, ``no_op(number)``,
``hand_over(number, sent_at)`` and, where the system has a call for many jobs at once,
``no_ops(numbers)``. Each line is answered by one of figures.
"""

import importlib
import json
import os
import sys
import time

#: Jobs in one call for many.
PAGE = 1_000


def main(app):
    """Do what each line says, until there is none."""
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        figures = globals()[verb](app, *arguments)
        sys.stdout.write(json.dumps(figures or {}) + "\n")
        sys.stdout.flush()


def journal(app, jobs):
    """Enqueue jobs that write to the journal."""
    for ident, seconds in jobs:
        app.journal(ident, seconds)


def one_by_one(app, start, stop):
    """Enqueue jobs that do nothing, each with a call."""

    def push():
        for number in range(start, stop):
            app.no_op(number)

    return timed(stop - start, push)


def in_bulk(app, start, stop):
    """Enqueue jobs that do nothing, a page a call."""

    def push():
        for at in range(start, stop, PAGE):
            app.no_ops(range(at, min(at + PAGE, stop)))

    return timed(stop - start, push)


def hand_over(app, start, stop, pause):
    """Enqueue jobs that carry the time, each a pause after the other."""
    due = time.monotonic()
    for number in range(start, stop):
        due += pause
        time.sleep(max(0.0, due - time.monotonic()))
        app.hand_over(number, time.monotonic())


def timed(jobs, push):
    """Return the figures of a call that enqueues so many jobs."""
    began, used = time.perf_counter(), time.process_time()
    push()
    took, used = time.perf_counter() - began, time.process_time() - used
    return {"jobs/s": jobs / took, "CPU us a job": used / jobs * 1e6}


if __name__ == "__main__":
    # Not the interpreter's own place for modules, but where the apps are.
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    main(importlib.import_module(sys.argv[1]))
