"""What can be done with jobs that wait: how each verb is called, who may, and what is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_jobqueue import redaction
from django_jobqueue.api import Entry
from django_jobqueue.bulk import Verb, verbs_of
from django_jobqueue.client.results import EnqueueResult, Status
from django_jobqueue.dashboard.rows import MESSAGE, short
from django_jobqueue.dashboard.visit import Visit
from django_jobqueue.exceptions import StoreError
from django_jobqueue.permissions import Permission


@dataclass(frozen=True, slots=True)
class Deed:
    """
    A verb as pages show it.

    ``label`` stands on its button and ``needs`` is what it takes. ``act`` does it to one entry;
    ``told`` returns the sentence about a number of them. ``removes`` is whether the job is gone
    for good, ``typed`` whether it has to be typed before it is done to all that match.
    """

    verb: Verb
    label: Promise
    needs: Permission
    act: Callable[[Any], EnqueueResult | bool]
    told: Callable[[int], str]
    removes: bool = False
    typed: bool = False

    @property
    def css(self) -> str:
        """The class of its button."""
        return "jq-danger" if self.typed else ""


DEEDS = {
    deed.verb: deed
    for deed in (
        Deed(
            Verb.RETRY, gettext_lazy("Retry now"), Permission.RETRY_JOB,
            lambda entry: entry.retry(),
            lambda n: ngettext("%(n)d job is tried again.", "%(n)d jobs are tried again.", n),
        ),
        Deed(
            Verb.ENQUEUE, gettext_lazy("Enqueue now"), Permission.RETRY_JOB,
            lambda entry: entry.enqueue_now(),
            lambda n: ngettext(
                "%(n)d job went to its queue.", "%(n)d jobs went to their queues.", n
            ),
        ),
        Deed(
            Verb.RELEASE, gettext_lazy("Release now"), Permission.RETRY_JOB,
            lambda entry: entry.release(),
            lambda n: ngettext("%(n)d job was released.", "%(n)d jobs were released.", n),
        ),
        Deed(
            Verb.KILL, gettext_lazy("Kill"), Permission.KILL_JOB,
            lambda entry: entry.kill(),
            lambda n: ngettext(
                "%(n)d job was moved to the dead set.", "%(n)d jobs were moved to the dead set.", n
            ),
            typed=True,
        ),
        Deed(
            Verb.DELETE, gettext_lazy("Delete"), Permission.DELETE_JOB,
            lambda entry: entry.delete(),
            lambda n: ngettext("%(n)d job was deleted.", "%(n)d jobs were deleted.", n),
            removes=True, typed=True,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Offer:
    """A verb that a user may use on the jobs of a place, as a button that posts to ``url``."""

    deed: Deed
    url: str

    @property
    def label(self) -> Promise:
        """What stands on it."""
        return self.deed.label

    @property
    def css(self) -> str:
        """The class of the button."""
        return self.deed.css

    @property
    def is_grave(self) -> bool:
        """Whether it is pressed by mistake at a price: it stands a click further away."""
        return self.deed.typed

    @property
    def removes(self) -> bool:
        """Whether the job is gone for good."""
        return self.deed.removes


def offers(visit: Visit, place: str) -> list[Offer]:
    """
    Return what the user may do to the jobs of a place, in the order of the buttons.

    Raises: InvalidQuery for what is no place.
    """
    fitting = set(verbs_of(place))
    if Verb.RETRY in fitting:
        fitting.discard(Verb.ENQUEUE)  # the same, but that it spends a retry: one button is enough
    return [
        Offer(deed, visit.url(f"job_{verb.value}"))
        for verb, deed in DEEDS.items()
        if verb in fitting and visit.may(deed.needs)
    ]


@dataclass(slots=True)
class Outcome:
    """
    What became of the jobs that somebody ticked: which went, and why the rest stayed.

    ``error`` is what Redis failed with before all had their turn.
    """

    jids: list[str] = field(default_factory=list)
    stayed: Counter[str] = field(default_factory=Counter)
    error: StoreError | None = None

    @property
    def done(self) -> int:
        """How many went."""
        return len(self.jids)

    def missed(self, count: int) -> None:
        """Take in some that were not found."""
        if count > 0:
            self.stayed[reason_of(Status.GONE)] += count

    def sentence(self, deed: Deed) -> str:
        """Return it for the operator."""
        told = [deed.told(self.done) % {"n": self.done}] if self.done else []
        for why, count in self.stayed.items():
            told.append(
                ngettext("%(n)d stayed: %(why)s.", "%(n)d stayed: %(why)s.", count)
                % {"n": count, "why": why}
            )
        return " ".join(told)


def carry_out(deed: Deed, entries: Iterable[Entry]) -> Outcome:
    """
    Do it to these entries, one after the other.

    One whose middleware raises stays where it is, and the others go on; where Redis fails
    they do not.
    """
    outcome = Outcome()
    for entry in entries:
        try:
            answer = deed.act(entry)
        except StoreError as error:
            outcome.error = error
            break
        except Exception as error:
            # Written down for all to read, and it may well tell of the arguments.
            told = redaction.redact_text(entry, f"{type(error).__name__}: {error}")
            outcome.stayed[short(told, MESSAGE)] += 1
            continue
        if answer:
            outcome.jids.append(entry.jid)
        else:
            status = answer.status if isinstance(answer, EnqueueResult) else Status.GONE
            outcome.stayed[reason_of(status)] += 1
    return outcome


def reason_of(status: Status) -> str:
    """Return why a job stayed where it was, for people."""
    reasons = {
        Status.GONE: _("no longer there, for a worker or somebody else was faster"),
        Status.DISABLED: _("the kill switch is on"),
        Status.REFUSED: _("a client middleware refused it"),
        Status.DUPLICATE: _("a newer job with the same arguments is on its way"),
    }
    return reasons.get(status, status.value)
