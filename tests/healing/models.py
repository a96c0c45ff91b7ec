"""Rows that need a job: keyed by a number, by a UUID, and by a text."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models


class Order(models.Model):
    """The ordinary one."""

    state = models.CharField(max_length=10, default="pending")
    customer = models.IntegerField(default=0)
    placed_at = models.DateTimeField(null=True, blank=True)

    #: mypy knows only the models of the test project's apps.
    objects: ClassVar[models.Manager[Order]] = models.Manager()

    def __str__(self) -> str:
        return f"order {self.pk}"


class Parcel(models.Model):
    """Keyed by a UUID."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    state = models.CharField(max_length=10, default="pending")

    #: mypy knows only the models of the test project's apps.
    objects: ClassVar[models.Manager[Parcel]] = models.Manager()

    def __str__(self) -> str:
        return f"parcel {self.pk}"


class Voucher(models.Model):
    """Keyed by a text."""

    code = models.CharField(primary_key=True, max_length=100)
    state = models.CharField(max_length=10, default="pending")

    #: mypy knows only the models of the test project's apps.
    objects: ClassVar[models.Manager[Voucher]] = models.Manager()

    def __str__(self) -> str:
        return f"voucher {self.pk}"


class Chore(models.Model):
    """Work that takes a moment, and knows which job does it."""

    state = models.CharField(max_length=10, default="pending", db_index=True)
    jid = models.CharField(max_length=24, blank=True)
    started_at = models.DateTimeField(null=True)

    #: mypy knows only the models of the test project's apps.
    objects: ClassVar[models.Manager[Chore]] = models.Manager()

    def __str__(self) -> str:
        return f"chore {self.pk}"
