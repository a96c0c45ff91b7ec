"""The rows that a reconciler looks at."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Order(models.Model):
    """Some are pending; a partial index finds those."""

    state = models.CharField(max_length=10)

    #: mypy knows only the models of the test project's apps.
    objects: ClassVar[models.Manager[Order]] = models.Manager()

    class Meta:
        indexes = (
            models.Index(fields=("id",), name="bench_pending", condition=models.Q(state="pending")),
        )

    def __str__(self) -> str:
        return f"order {self.pk}"
