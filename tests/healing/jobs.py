"""The jobs of those rows and their reconcilers. What they do, a test says."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from django.utils import timezone

from django_jobqueue import Job, Skip
from django_jobqueue.job.times import Delay
from django_jobqueue.reconciliation import Reconciler
from tests.healing.models import Chore, Order, Parcel, Voucher
from tests.jobsite.jobs import journal


class OrderJob(Job):
    """Finish an order."""

    queue = "orders"
    retry = 0
    unique_for: ClassVar[Delay | None] = timedelta(minutes=10)

    def perform(self, order_id: int) -> None:
        Order.objects.filter(pk=order_id).update(state="done")


class ScheduleOrders(Reconciler):
    """Every pending order."""

    job = OrderJob

    def get_queryset(self) -> QuerySet[Order]:
        return Order.objects.filter(state="pending")


class DoomedJob(Job):
    """Dies, each time."""

    queue = "doomed"
    retry = 0
    unique_for = timedelta(hours=2)

    def perform(self, order_id: int) -> None:
        raise ValueError(f"order {order_id} is doomed")


class ScheduleDoomed(Reconciler):
    """Every order whose state says so."""

    job = DoomedJob

    def get_queryset(self) -> QuerySet[Order]:
        return Order.objects.filter(state="doomed")


class ParcelJob(Job):
    """Send a parcel."""

    queue = "parcels"
    unique_for = timedelta(minutes=10)

    def perform(self, parcel_id: str) -> None:
        Parcel.objects.filter(pk=parcel_id).update(state="done")


class ScheduleParcels(Reconciler):
    """Every pending parcel."""

    job = ParcelJob

    def get_queryset(self) -> QuerySet[Parcel]:
        return Parcel.objects.filter(state="pending")


class VoucherJob(Job):
    """Cash a voucher."""

    queue = "vouchers"
    unique_for = timedelta(minutes=10)

    def perform(self, code: str) -> None:
        Voucher.objects.filter(pk=code).update(state="done")


class ScheduleVouchers(Reconciler):
    """Every pending voucher."""

    job = VoucherJob

    def get_queryset(self) -> QuerySet[Voucher]:
        return Voucher.objects.filter(state="pending")


class ChoreJob(Job):
    """Do a chore that nobody does, or whose doer is dead."""

    queue = "chores"
    unique_for = timedelta(minutes=10)
    #: Seconds that one takes, and after which its doer must be dead.
    LENGTH, DEAD_AFTER = 0.15, 5.0

    def perform(self, chore_id: int) -> None:
        now = timezone.now()
        mine = Q(state="running", jid=self.jid)
        claimed = Chore.objects.filter(Q(state="pending") | mine | abandoned(), pk=chore_id)
        if not claimed.update(state="running", jid=self.jid, started_at=now):
            raise Skip("somebody does it, or has done it")
        with journal().running(self.jid, str(chore_id)):
            time.sleep(self.LENGTH)
        Chore.objects.filter(mine, pk=chore_id).update(state="done")


def abandoned() -> Q:
    """Return what finds chores whose doer is dead."""
    before = timezone.now() - timedelta(seconds=ChoreJob.DEAD_AFTER)
    return Q(state="running", started_at__lt=before)


class ScheduleChores(Reconciler):
    """Every chore that somebody has to do."""

    job = ChoreJob

    def get_queryset(self) -> QuerySet[Chore]:
        return Chore.objects.filter(Q(state="pending") | abandoned())


def variant(base: type[Reconciler] = ScheduleOrders, **attributes: Any) -> Reconciler:
    """
    Return an object of a reconciler with other options, which the registry does not know.

    It shares the name of its base, and so its state.
    """
    body = {"__qualname__": base.__qualname__, "__module__": base.__module__, **attributes}
    body["abstract"] = True
    made: Callable[[], Reconciler] = type(base.__name__, (base,), body)
    return made()
