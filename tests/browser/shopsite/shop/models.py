"""What the shop sells, and to whom: rows that its reconcilers look at."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Order(models.Model):
    """Somebody has bought something, and is to get an invoice and to be charged."""

    state = models.CharField(max_length=10, default="placed")
    placed_at = models.DateTimeField()

    #: mypy knows only the models of the test project's apps.
    objects: ClassVar[models.Manager[Order]] = models.Manager()

    def __str__(self) -> str:
        return f"order {self.pk}"


class Product(models.Model):
    """Something to buy, whose stock the warehouse knows."""

    name = models.CharField(max_length=100)
    synced_at = models.DateTimeField(null=True)

    #: mypy knows only the models of the test project's apps.
    objects: ClassVar[models.Manager[Product]] = models.Manager()

    def __str__(self) -> str:
        return self.name
