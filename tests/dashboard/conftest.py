"""Who visits the dashboard, and where its addresses are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission as Right
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from django_jobqueue.permissions import Permission
from tests.support.inside import count_round_trips, inside

__all__ = ["address", "count_round_trips", "inside", "operator", "staff"]


@pytest.fixture
def operator(client: Client, db: None) -> Client:
    """A superuser's browser."""
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def staff(db: None) -> Callable[..., Client]:
    """Log somebody of the staff in, with some permissions: ``staff(Permission.VIEW_DASHBOARD)``."""

    def log_in(*permissions: Permission) -> Client:
        user = User.objects.create_user(f"staff{User.objects.count()}", is_staff=True)
        wanted = [permission.value for permission in permissions]
        user.user_permissions.set(Right.objects.filter(codename__in=wanted))
        browser = Client()
        browser.force_login(user)
        return browser

    return log_in


def address(name: str, *args: Any) -> str:
    """Return where a route is in the default admin."""
    return reverse(f"admin:jobqueue_{name}", args=args)
