"""What views call."""

from datetime import timedelta

from django.db import transaction

from .jobs import InvoiceJob, ReminderJob
from .models import Order


def place_order(*, fail: bool = False) -> Order:
    """Place an order, or not where something goes wrong."""
    with transaction.atomic():
        order = Order.objects.create()
        InvoiceJob.perform_async(order.pk)
        ReminderJob.perform_in(timedelta(days=3), order.pk)
        if fail:
            raise ValueError("out of stock")
    return order
