"""What is done with orders later."""

from datetime import timedelta

from django_jobqueue import Job

from .models import Order


class InvoiceJob(Job):
    """Invoice an order. Nothing brings it back."""

    queue = "mail"
    unique_for = timedelta(minutes=10)
    self_healing = False

    def perform(self, order_id: int) -> None:
        """Invoice it, if that was not done."""
        Order.objects.filter(pk=order_id, state="placed").update(state="invoiced")


class ReminderJob(Job):
    """Remind a customer. Nothing brings it back."""

    self_healing = False

    def perform(self, order_id: int) -> None:
        """Fail where the order is gone."""
        Order.objects.get(pk=order_id)


class ShipJob(Job):
    """Ship an order. Nothing brings it back."""

    self_healing = False

    async def perform(self, order_id: int) -> None:
        """Ship it."""
        order = await Order.objects.aget(pk=order_id)
        order.state = "shipped"
        await order.asave()
