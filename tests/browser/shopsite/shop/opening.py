"""Open the shop: everything that its dashboard shows, the same each time but for the moment."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

import redis
from django.contrib.auth.models import User
from django.utils import timezone

from django_jobqueue import clock
from django_jobqueue.connection import store

from . import staff, traffic
from .backlog import Backlog
from .models import Order, Product


@dataclass(slots=True)
class Shop:
    """The shop as it stands, and what goes on in it; ``owner`` may do everything."""

    owner: User
    client: redis.Redis
    backlog: Backlog
    chance: random.Random
    counted_at: float

    def beat(self) -> None:
        """Let the workers give a sign of life, and have kept up with the time."""
        staff.beat(self.client, store().keys, self.backlog)
        staff.keep_time()
        traffic.go_on(self.counted_at, self.chance)
        self.counted_at = clock.now()

    def work(self, done: int, failed: int) -> None:
        """Count some more jobs, as workers do."""
        traffic.tick(self.client, store().keys, done, failed)


def open_shop(client: redis.Redis) -> Shop:
    """Fill an empty Redis, and a database that has its tables."""
    chance, keys = random.Random(7), store().keys
    store().epoch.begin("0123456789abcdef01234567")
    owner = User.objects.create_superuser("ada", first_name="Ada")
    now = timezone.now()
    Order.objects.bulk_create(
        Order(id=48_000 + number, placed_at=now - timedelta(seconds=number)) for number in range(40)
    )
    Product.objects.bulk_create(Product(name=f"Tea no. {number}") for number in range(40))
    counted_at = clock.now()
    traffic.fill(client, keys, chance)
    backlog = Backlog(client, keys, chance)
    backlog.fill()
    staff.throw()
    staff.reconcile()
    staff.order()
    shop = Shop(owner, client, backlog, chance, counted_at)
    shop.beat()
    return shop
