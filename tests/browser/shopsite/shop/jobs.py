"""The jobs of the shop. None of them is ever run: their names and options are looked at."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse

from django_jobqueue import Job
from django_jobqueue.payload import Payload
from django_jobqueue.reconciliation import Reconciler

from .models import Order, Product


class _ShopJob(Job):
    abstract = True

    def perform(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""


class SendInvoice(_ShopJob):
    """One for each order."""

    queue = "billing"
    retry = 10
    unique_for = timedelta(minutes=10)


class ChargeCard(_ShopJob):
    """Nobody is to be charged twice, so it knows few retries and keeps its tracebacks."""

    queue = "billing"
    retry = 5
    backtrace = True
    redact = ("card",)
    unique_for = timedelta(minutes=10)

    def perform(self, order_id: int, card: str) -> None:
        """Do nothing."""

    @classmethod
    def admin_url(cls, payload: Payload) -> str | None:
        """Return where the order is."""
        return reverse("admin:shop_order_change", args=[payload.args[0]])


class SyncStock(_ShopJob):
    """Asks the warehouse."""

    queue = "default"
    retry = 8
    backtrace = True


class ResizeImages(_ShopJob):
    """Takes long."""

    queue = "images"


class SendDigest(_ShopJob):
    """Made for a moment."""

    queue = "mail"
    self_healing = False


class RebuildIndex(_ShopJob):
    """Can wait."""

    queue = "low"
    self_healing = False


class ExportOrders(_ShopJob):
    """Somebody waits for it at a desk."""

    queue = "reports"
    self_healing = False


class ScheduleInvoices(Reconciler):
    """Heals at once."""

    job = SendInvoice
    age_field = "placed_at"
    heal_within = timedelta(minutes=5)

    def get_queryset(self) -> QuerySet[Order]:
        """Return the orders without an invoice."""
        return Order.objects.filter(state="placed")


class ScheduleCharges(Reconciler):
    """Has failed lately."""

    job = ChargeCard
    age_field = "placed_at"
    heal_within = timedelta(minutes=15)

    def get_queryset(self) -> QuerySet[Order]:
        """Return the orders that are not paid."""
        return Order.objects.filter(state="invoiced")

    def args_for(self, row: Any) -> list[Any]:
        """Return what the job wants."""
        return [row.pk, "tok"]


class ScheduleSync(Reconciler):
    """Stopped by the switch of its job."""

    job = SyncStock

    def get_queryset(self) -> QuerySet[Product]:
        """Return what was not synced."""
        return Product.objects.filter(synced_at=None)
