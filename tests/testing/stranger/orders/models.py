"""Orders."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Order(models.Model):
    """One order, ``placed``, ``invoiced`` or ``shipped``."""

    objects: ClassVar[models.Manager[Order]] = models.Manager()

    state = models.CharField(max_length=20, default="placed")
