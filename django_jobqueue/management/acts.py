"""Do something to jobs that wait: by their ids, or to all that meet conditions."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_jobqueue import bulk, clock
from django_jobqueue.api import Entry, Progress, WorkSet
from django_jobqueue.bulk import Order, Verb
from django_jobqueue.client.results import EnqueueResult
from django_jobqueue.exceptions import InvalidQuery, StoreError
from django_jobqueue.management import flags, journal
from django_jobqueue.management.confirm import confirm
from django_jobqueue.management.places import places_for, read_words
from django_jobqueue.management.ticker import Ticker
from django_jobqueue.payload import printable
from django_jobqueue.switches.events import os_user

#: The exit code where some of the jobs that were meant stayed where they were.
STAYED = 3

#: Ids up to which each is searched for by itself: that lets Redis look for them.
FEW = 5

#: Seconds that jobs are counted before "at least" is said.
COUNTING = 3.0

#: What is said of jobs that a verb was done to.
DONE = {
    Verb.RETRY: "retried", Verb.ENQUEUE: "enqueued", Verb.KILL: "killed", Verb.DELETE: "deleted",
    Verb.RELEASE: "released",
}  # fmt: skip

#: What cannot be undone, or not easily: it is asked for first.
GRAVE = {
    Verb.DELETE: "deletes {what} for good",
    Verb.KILL: "moves {what} to the dead set, of which the oldest go when it is full",
}


def add_arguments(parser: ArgumentParser, verb: Verb) -> None:
    """Declare whom it is done to, and how."""
    parser.add_argument(
        "words", nargs="*", metavar="PLACE|JID",
        help="where (retry, dead, schedule, queue:NAME, held:CLASS; of these whatever the verb "
        "fits), then ids of jobs; without a place an id is looked for everywhere",
    )  # fmt: skip
    parser.add_argument(
        "--all", action="store_true", help="all jobs of the place (that meet the conditions)"
    )
    parser.add_argument(
        "--limit", type=flags.count, metavar="N", help="so many at most, as a probe"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="only count the jobs that are meant")
    how.add_argument(
        "--background", action="store_true",
        help="let a worker do it: 'bulk' shows how far it is",
    )  # fmt: skip
    if verb in GRAVE:
        parser.add_argument("--yes", action="store_true", help="ask nothing")
    flags.add_json(parser)
    flags.add_filters(parser.add_argument_group("only jobs"))


def act(command: BaseCommand, options: Mapping[str, Any], verb: Verb) -> int:
    """Do it; return the exit code. Raises: CommandError."""
    place, jids = read_words(options["words"], verb)
    meant = flags.filter_of(options)
    if jids:
        if options["all"] or options["limit"] or options["background"] or not meant.is_empty:
            raise CommandError(
                f"{printable(jids[0])!r} is no place, so it was read as the id of a job. Give ids, "
                "or a place with conditions or --all; not both."
            )
        return _act_on_ids(command, options, verb, place, jids)
    if meant.is_empty and not options["all"]:
        raise CommandError(
            f"Say which jobs to {verb.value}: their ids, conditions such as --class, or --all."
        )
    if place is None:
        raise CommandError(f"Say where: one of {', '.join(places_for(verb)) or 'no place'}.")
    if options["limit"] and options["background"]:
        raise CommandError("--limit is a probe, done at once: leave --background out.")
    try:
        return _act_on_all(command, options, Order(verb, place, meant, os_user(), clock.now()))
    except InvalidQuery as error:
        raise CommandError(str(error)) from error


# All that are meant ------------------------------------------------------------------------


def _act_on_all(command: BaseCommand, options: Mapping[str, Any], order: Order) -> int:
    if options["dry_run"]:
        return _dry_run(command, options, order)
    if order.verb in GRAVE and not options["yes"]:
        told, _ = _counted(order)
        warning = GRAVE[order.verb].format(what=f"{told} of {printable(order.place)}")
        confirm(command, f"This {warning} ({order.filter}).", order.place)
    if options["background"]:
        return _hand_over(command, options, order)
    done = carry_out(command, order, order.verb.value, _target(order), limit=options["limit"])
    return show_progress(command, options, order, done)


def carry_out(
    command: BaseCommand, order: Order, act: str, target: str, *, limit: int | None = None
) -> Progress:
    """Do it here and now, and write down how many it was done to, also where it breaks off."""
    with Ticker(command) as ticker:
        try:
            done = _probe(order, limit, ticker) if limit else bulk.carry_out(order, ticker.tell)
        except BaseException:  # Ctrl-C among them
            journal.note(act, f"{target}, broken off", ticker.done)
            raise
    journal.note(act, target, done.done)
    return done


def _target(order: Order) -> str:
    """Return where it is done and to which jobs, for the log: a text sought may be an argument."""
    return str(order).removeprefix(f"{order.verb} in ")


def _dry_run(command: BaseCommand, options: Mapping[str, Any], order: Order) -> int:
    told, facts = _counted(order)
    line = f"{printable(order.place)}: {told} would be {DONE[order.verb]} ({order.filter})."
    flags.show(command, options, {**order.as_dict(), **facts}, [line])
    return 0


def _counted(order: Order) -> tuple[str, dict[str, Any]]:
    """Return how many jobs are meant, for people and as facts."""
    jobs = bulk.place_of(order.place)
    total = len(jobs)
    if order.filter.is_empty:
        return _jobs(total), {"matched": total, "looked_at": total, "total": total}
    matched = looked_at = 0
    until = clock.monotonic() + COUNTING
    finished = True
    for entry in jobs:
        if clock.monotonic() >= until:
            finished = False
            break
        looked_at += 1
        matched += order.means(entry)
    told = _jobs(matched) if finished else f"at least {matched:,} of {looked_at:,} jobs looked at"
    return told, {"matched": matched, "looked_at": looked_at, "total": total}


def _probe(order: Order, limit: int, ticker: Ticker) -> Progress:
    jobs: Any = bulk.place_of(order.place)
    every = {
        Verb.RETRY: "retry_all", Verb.ENQUEUE: "enqueue_all", Verb.KILL: "kill_all",
        Verb.DELETE: "delete_all", Verb.RELEASE: "release_all",
    }[order.verb]  # fmt: skip
    done: Progress = getattr(jobs, every)(order.means, limit=limit, progress=ticker.tell)
    return done


def _hand_over(command: BaseCommand, options: Mapping[str, Any], order: Order) -> int:
    id = bulk.ask(order)
    journal.note(f"asked to {order.verb.value}", _target(order), 1, bulk=id)
    line = f"{id}: a worker does it, if one works the queue 'reconcilers'. See: jobqueue bulk {id}"
    flags.show(command, options, {**order.as_dict(), "id": id}, [line])
    return 0


def show_progress(
    command: BaseCommand,
    options: Mapping[str, Any],
    order: Order,
    done: Progress,
) -> int:
    """Tell what was done to many, and why the rest stayed; return the exit code."""
    stayed = {
        "gone": done.gone, "disabled": done.disabled, "refused": done.refused,
        "duplicates": done.duplicates, "failed": done.failed,
    }  # fmt: skip
    facts = {
        **order.as_dict(), "total": done.total, "looked_at": done.looked_at,
        "matched": done.matched, "done": done.done, **stayed,
    }  # fmt: skip
    reasons = [f"{count:,} {_WHY[name]}" for name, count in stayed.items() if count]
    line = f"{printable(order.place)}: {_jobs(done.done)} {DONE[order.verb]}"
    if done.matched != done.done:
        line += f" of {done.matched:,} that were meant"
    lines = [f"{line}.", *(f"  {reason}" for reason in reasons)]
    flags.show(command, options, facts, lines)
    return STAYED if any(stayed.values()) else 0


#: Why jobs stayed where they were.
_WHY = {
    "gone": "had gone: somebody else has moved them",
    "disabled": "stay: their kill switch is on",
    "refused": "stay: a client middleware refused them",
    "duplicates": "stay: a newer job with the same arguments is on its way",
    "failed": "stay: something raised; see the log",
}


# Jobs by their ids -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Answer:
    """What became of one job; ``place`` is empty where it was not found."""

    jid: str
    place: str
    done: bool
    reason: str = ""

    def told(self, verb: Verb) -> str:
        where = f" ({printable(self.place)})" if self.place else ""
        what = DONE[verb] if self.done else f"not {DONE[verb]}: {printable(self.reason)}"
        return f"{printable(self.jid)}{where}: {what}"


def _act_on_ids(
    command: BaseCommand,
    options: Mapping[str, Any],
    verb: Verb,
    place: str | None,
    jids: Sequence[str],
) -> int:
    where = places_for(verb) if place is None else [place]
    wanted = list(dict.fromkeys(jids))
    found = _find(wanted, where)
    if verb is Verb.DELETE and found and not options["yes"] and not options["dry_run"]:
        confirm(command, f"This deletes {_jobs(len(found))} for good.", verb.value)
    answers = []
    for jid in wanted:
        if jid not in found:
            answers.append(_Answer(jid, "", False, _nowhere(jid, place)))
        elif options["dry_run"]:
            answers.append(_Answer(jid, found[jid][0], False, "dry run"))
        else:
            answers.append(answer := _one(verb, jid, *found[jid]))
            if answer.done:  # at once: Redis may fail with the next one
                journal.note(verb.value, f"{jid} in {answer.place}", 1, jid=jid)
    done = [answer for answer in answers if answer.done]
    facts = [
        {"jid": each.jid, "place": each.place, "done": each.done, "reason": each.reason}
        for each in answers
    ]
    plain = {"verb": verb.value, "done": len(done), "jobs": facts}
    flags.show(command, options, plain, (answer.told(verb) for answer in answers))
    if options["dry_run"]:
        return 0
    return 0 if len(done) == len(answers) else STAYED


def _find(jids: Sequence[str], where: Sequence[str]) -> dict[str, tuple[str, Entry]]:
    """Return the first place of each job, and the job; everything is read, if need be."""
    found: dict[str, tuple[str, Entry]] = {}
    for place in where:
        missing = [jid for jid in jids if jid not in found]
        for entry in _among(place, missing):
            found.setdefault(entry.jid, (place, entry))
    return found


def _among(place: str, jids: Sequence[str]) -> Iterator[Entry]:
    jobs = bulk.place_of(place)
    if len(jids) <= FEW:
        yield from filter(None, (jobs.find(jid, budget=None) for jid in jids))
        return
    wanted = set(jids)
    for entry in jobs:
        if entry.jid in wanted:
            yield entry
            wanted.discard(entry.jid)
        if not wanted:
            return


def _one(verb: Verb, jid: str, place: str, entry: Any) -> _Answer:
    try:
        answer: EnqueueResult | bool = {
            Verb.RETRY: lambda: entry.retry(),
            Verb.ENQUEUE: lambda: entry.enqueue_now(),
            Verb.KILL: lambda: entry.kill(),
            Verb.DELETE: lambda: entry.delete(),
            Verb.RELEASE: lambda: entry.release(),
        }[verb]()
    except StoreError as error:
        if isinstance(error, ConnectionError):
            raise
        return _Answer(jid, place, False, str(error))
    except Exception as error:  # a middleware's; the others have their turn
        return _Answer(jid, place, False, f"{type(error).__name__}: {error}")
    if isinstance(answer, EnqueueResult):
        return _Answer(jid, place, bool(answer), answer.reason)
    return _Answer(jid, place, answer, "" if answer else "somebody else has moved it")


def _nowhere(jid: str, place: str | None) -> str:
    running = WorkSet().find(jid)
    if running is not None:
        return f"it runs, in process {running.process}"
    return "it is nowhere where that can be done" if place is None else f"it is not in {place}"


def _jobs(count: int) -> str:
    return f"{count:,} job" if count == 1 else f"{count:,} jobs"
