"""The queues: how much waits where and whether it is worked; one queue, its jobs and its brakes."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_jobqueue import bulk, clock
from django_jobqueue.api import Filter, Progress, Queue, Stats
from django_jobqueue.bulk import Order, Verb
from django_jobqueue.dashboard.asked import number
from django_jobqueue.dashboard.pages.entries import Spot, show_list
from django_jobqueue.dashboard.routes import Act, BrokeOff, Done, Page, Route
from django_jobqueue.dashboard.visit import Refused, Visit
from django_jobqueue.exceptions import InvalidQueueName, StoreError
from django_jobqueue.payload import check_queue_name, printable
from django_jobqueue.permissions import Permission
from django_jobqueue.reports.queues import QueueFacts, by_urgency, of_stats

#: Queues of a page.
PAGE = 100

#: Jobs that are deleted while the operator waits; more of them a worker deletes.
AT_ONCE = 1000

SPOT = Spot(
    "queues_queue", "queue", gettext_lazy("Queue"), gettext_lazy("Waits since"),
    gettext_lazy("Nothing waits in this queue."),
)  # fmt: skip


# Looking ---------------------------------------------------------------------------


def _queues(visit: Visit) -> HttpResponse:
    stats = Stats()
    known = sorted([*of_stats(stats), *_paused_only(stats)], key=by_urgency)
    start = min(number(visit.query, "start"), len(known))
    page = known[start : start + PAGE]
    return visit.show(
        "queues.html",
        _("Queues"),
        rows=[(printable(each.name), each) for each in page],
        count=len(known),
        enqueued=stats.enqueued,
        processes=stats.processes,
        first=start + 1,
        last=start + len(page),
        before=visit.url("queues", start=max(0, start - PAGE) or None) if start else "",
        after=visit.url("queues", start=start + PAGE) if start + PAGE < len(known) else "",
    )


def _paused_only(stats: Stats) -> list[QueueFacts]:
    """Return the queues that somebody paused before the first job came."""
    names = sorted(name for name in stats.paused if name not in stats.queues)
    return [
        QueueFacts(name, 0, 0.0, paused=True, unworked=False, broken=name in stats.broken)
        for name in names
    ]


def _queue(visit: Visit) -> HttpResponse:
    queue = Queue(visit.query.get("of", ""))
    shown = printable(queue.name)
    return show_list(
        visit,
        SPOT,
        f"queue:{queue.name}",
        _("Queue %(name)s") % {"name": shown},
        {"of": queue.name},
        template="queue.html",
        queue=queue,
        shown=shown,
        latency=queue.latency,
        paused=queue.paused,
        confirm=_word(queue.name),
    )


def _word(name: str) -> str:
    """Return what has to be typed to clear a queue: its name, where people can type that."""
    try:
        return check_queue_name(name)
    except InvalidQueueName:
        return "clear"


# Steering --------------------------------------------------------------------------


def _pause(visit: Visit) -> Done:
    queue = _meant(visit)
    queue.pause()
    return Done(
        _("Paused: the workers take no more jobs of %(name)s. What runs goes on.")
        % {"name": printable(queue.name)},
        queue.name,
    )


def _resume(visit: Visit) -> Done:
    queue = _meant(visit)
    queue.resume()
    return Done(
        _("Resumed: the workers take jobs of %(name)s again.") % {"name": printable(queue.name)},
        queue.name,
    )


def _clear(visit: Visit) -> Done:
    """Delete what is in a queue now: here where that is quickly done, else by a worker."""
    queue = _meant(visit)
    visit.require_typed(_word(queue.name))
    name, size = printable(queue.name), len(queue)
    if size > AT_ONCE:
        order = Order(Verb.DELETE, f"queue:{queue.name}", Filter(), visit.actor, clock.now())
        made = bulk.ask(order)
        return Done(
            _("Ordered: the %(count)d jobs of %(name)s are deleted one after the other.")
            % {"count": size, "name": name},
            queue.name, size, removes=True, to=visit.url("bulk_order", id=made),
        )  # fmt: skip
    done = Progress(total=size)

    def told(progress: Progress) -> None:
        done.done = progress.done

    try:
        done.done = queue.clear(told)
    except StoreError as error:
        raise BrokeOff(_cleared(queue, done.done), error) from error
    return _cleared(queue, done.done)


def _cleared(queue: Queue, count: int) -> Done:
    told = ngettext(
        "%(count)d job of %(name)s was deleted.", "%(count)d jobs of %(name)s were deleted.", count
    )
    told %= {"count": count, "name": printable(queue.name)}
    return Done(told, queue.name, count, removes=True)


def _meant(visit: Visit) -> Queue:
    """Return the queue that a form names, if there is one. Raises: Refused, InvalidQuery."""
    queue = Queue(visit.form.get("of", ""))
    stats = Stats()
    if queue.name not in stats.queues and queue.name not in stats.paused and not len(queue):
        raise Refused(
            _("Nothing was done: there is no queue %(name)s.") % {"name": printable(queue.name)}
        )
    return queue


routes: list[Route] = [
    Page("queues/", "queues", _queues),
    Page("queues/queue/", "queues_queue", _queue),
    Act("queues/pause/", "queues_pause", _pause, Permission.PAUSE_QUEUE),
    Act("queues/resume/", "queues_resume", _resume, Permission.PAUSE_QUEUE),
    Act("queues/clear/", "queues_clear", _clear, Permission.CLEAR_QUEUE),
]
