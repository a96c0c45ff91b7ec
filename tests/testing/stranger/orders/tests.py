"""The tests of the project, in Django's way: ``manage.py test --parallel 2``."""

from datetime import timedelta

from asgiref.sync import sync_to_async
from django.db import transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings

from django_jobqueue.api import Queue, ScheduledSet
from django_jobqueue.testing import (
    assert_idempotent,
    committing,
    disable_job,
    fake_jobs,
    inline_jobs,
    outbox,
    use_fakeredis,
    work_off,
)

from .jobs import InvoiceJob, ReminderJob, ShipJob
from .models import Order
from .services import place_order


class PlacingTests(TestCase):
    """With the box of the settings."""

    def setUp(self) -> None:
        outbox().assert_nothing_enqueued()

    def test_an_order_is_invoiced(self) -> None:
        order = place_order()
        outbox().assert_enqueued(InvoiceJob, args=[order.pk], queue="mail", count=1)
        outbox().drain()
        order.refresh_from_db()
        self.assertEqual(order.state, "invoiced")

    def test_a_reminder_follows(self) -> None:
        order = place_order()
        outbox().assert_enqueued(ReminderJob, args=[order.pk], at=timedelta(days=3))

    def test_an_order_that_fails_leaves_no_jobs(self) -> None:
        with self.assertRaises(ValueError):
            place_order(fail=True)
        outbox().assert_nothing_enqueued()

    def test_an_invoice_is_enqueued_once(self) -> None:
        order = place_order()
        self.assertIsNone(InvoiceJob.perform_async(order.pk))
        self.assertEqual(outbox().size(InvoiceJob), 1)

    def test_no_invoices_while_the_switch_is_on(self) -> None:
        with disable_job(InvoiceJob):
            place_order()
        outbox().assert_not_enqueued(InvoiceJob)
        outbox().assert_enqueued(ReminderJob)

    def test_an_invoice_may_run_twice(self) -> None:
        assert_idempotent(InvoiceJob, Order.objects.create().pk)

    def test_hooks_of_our_own(self) -> None:
        order = Order.objects.create()
        with committing():
            transaction.on_commit(lambda: ShipJob.perform_async(order.pk))
        outbox().assert_enqueued(ShipJob, args=[order.pk])

    async def test_in_a_coroutine(self) -> None:
        order = await sync_to_async(place_order)()
        outbox().assert_enqueued(InvoiceJob, args=[order.pk])
        await sync_to_async(outbox().drain)(InvoiceJob)
        await order.arefresh_from_db()
        self.assertEqual(order.state, "invoiced")


@inline_jobs()
class InlineTests(TestCase):
    """Jobs run where they are enqueued."""

    def test_an_order_is_invoiced_with_its_transaction(self) -> None:
        with transaction.atomic():
            order = place_order()
            order.refresh_from_db()
            self.assertEqual(order.state, "placed")
        order.refresh_from_db()
        self.assertEqual(order.state, "invoiced")

    def test_an_async_job_sees_the_rows_of_the_test(self) -> None:
        order = Order.objects.create()
        ShipJob.perform_async(order.pk)
        order.refresh_from_db()
        self.assertEqual(order.state, "shipped")

    def test_a_failure_reaches_the_test(self) -> None:
        with self.assertRaises(Order.DoesNotExist):
            ReminderJob.perform_async(0)

    @fake_jobs()
    def test_the_innermost_wins(self) -> None:
        ReminderJob.perform_async(0)
        outbox().assert_enqueued(ReminderJob)


@override_settings(JOBQUEUE={"OUTLET": "inline"})
class SettingsTests(TransactionTestCase):
    """Chosen by settings, and with commits that are real."""

    def test_an_order_is_invoiced(self) -> None:
        order = place_order()
        order.refresh_from_db()
        self.assertEqual(order.state, "invoiced")


@use_fakeredis()
class StoreTests(TestCase):
    """With a real store."""

    def test_work_is_worked_off(self) -> None:
        order = place_order()
        self.assertEqual([entry.args for entry in Queue("mail")], [[order.pk]])
        self.assertEqual(len(ScheduledSet()), 1)
        self.assertEqual(work_off(), 1)
        order.refresh_from_db()
        self.assertEqual(order.state, "invoiced")

    def test_a_lock_is_held_until_the_end(self) -> None:
        first = InvoiceJob.enqueue(7)
        self.assertEqual(InvoiceJob.enqueue(7).existing_jid, first.jid)
        work_off()
        self.assertTrue(InvoiceJob.enqueue(7))


class NoDatabaseTests(SimpleTestCase):
    """Without a database."""

    def test_a_job_is_enqueued(self) -> None:
        outbox().assert_nothing_enqueued()
        InvoiceJob.perform_async(7)
        self.assertEqual(outbox().args_of(InvoiceJob), [[7]])
