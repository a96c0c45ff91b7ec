"""The tests of the project, in pytest's way: ``pytest -n 2 orders/pytests.py``."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import TestCase

from django_jobqueue.testing import FakeOutlet, InlineOutlet, disable_job, outbox, work_off

from .jobs import InvoiceJob, ReminderJob, ShipJob
from .models import Order
from .services import place_order


@pytest.mark.django_db
def test_an_order_is_invoiced(fake_jobs: FakeOutlet) -> None:
    order = place_order()
    fake_jobs.assert_enqueued(InvoiceJob, args=[order.pk], count=1)
    fake_jobs.assert_enqueued(ReminderJob, at=timedelta(days=3))
    assert fake_jobs.drain() == 2
    order.refresh_from_db()
    assert order.state == "invoiced"


@pytest.mark.django_db(transaction=True)
def test_an_order_that_fails_leaves_no_jobs(fake_jobs: FakeOutlet) -> None:
    with pytest.raises(ValueError, match="stock"):
        place_order(fail=True)
    fake_jobs.assert_nothing_enqueued()


@pytest.mark.django_db
def test_jobs_run_inline(inline_jobs: InlineOutlet) -> None:
    order = place_order()
    ShipJob.perform_async(order.pk)
    order.refresh_from_db()
    assert order.state == "shipped"


@pytest.mark.django_db
def test_jobs_go_to_a_store(jobqueue_redis: None) -> None:
    order = place_order()
    assert work_off("mail") == 1
    order.refresh_from_db()
    assert order.state == "invoiced"


@pytest.mark.parametrize("number", range(3))
def test_the_box_of_the_settings_is_empty_for_each_test(number: int) -> None:
    outbox().assert_nothing_enqueued()
    assert InvoiceJob.perform_async(7) is not None


def test_settings_may_change(settings: Any) -> None:
    settings.JOBQUEUE = {"OUTLET": "fake", "CLIENT_MIDDLEWARE": []}
    with disable_job(InvoiceJob):
        assert InvoiceJob.perform_async(7) is not None


@pytest.mark.usefixtures("fake_jobs")
class CaseTests(TestCase):
    """A test case of Django's, run by pytest."""

    def test_an_order_is_invoiced(self) -> None:
        order = place_order()
        outbox().drain(InvoiceJob)
        self.assertEqual(Order.objects.get(pk=order.pk).state, "invoiced")
