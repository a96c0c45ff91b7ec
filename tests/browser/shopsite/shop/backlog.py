"""What the shop has to do: jobs that wait, failed, died and are held, and their locks."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from django_jobqueue import clock
from django_jobqueue.payload import Payload, stamp
from django_jobqueue.retry import pack_backtrace
from django_jobqueue.store.keys import Keys
from django_jobqueue.unique import digest

#: Jobs that wait in each queue: their class, how many, the age of the next one in s.
QUEUES = {
    "billing": ("shop.jobs.SendInvoice", 214, 11.0),
    "default": ("shop.jobs.SyncStock", 0, 0.0),
    "images": ("shop.jobs.ResizeImages", 1_836, 412.0),
    "low": ("shop.jobs.RebuildIndex", 57, 5_460.0),
    "mail": ("shop.jobs.SendDigest", 38, 1.7),
    "reports": ("shop.jobs.ExportOrders", 6, 10_980.0),
}

#: Jobs that the kill switch holds, and those with a lock.
HELD, LOCKED = 268, 18


@dataclass(frozen=True, slots=True)
class Failure:
    """A way to fail: ``message`` takes a number, ``frames`` are lines of its traceback."""

    job_class: str
    queue: str
    error: str
    message: str
    retries: int
    frames: Sequence[tuple[str, int, str, str]] = field(default=())

    @property
    def backtrace(self) -> str | None:
        """The traceback as it travels with a job."""
        if not self.frames:
            return None
        return pack_backtrace(
            [
                f'  File "/srv/shop/{path}", line {line}, in {where}\n    {code}'
                for path, line, where, code in self.frames
            ]
        )


WAREHOUSE = Failure(
    "shop.jobs.SyncStock", "default", "TimeoutError",
    "warehouse-{n}.internal did not answer within 30 s", 8,
    (
        ("shop/jobs.py", 61, "perform", "stock = warehouse.levels(product_id)"),
        ("warehouse/client.py", 118, "levels", "return self._get(f'/levels/{product_id}')"),
        ("warehouse/client.py", 44, "_get", "raise TimeoutError(f'{host} did not answer')"),
    ),
)  # fmt: skip
PAYMENT = Failure(
    "shop.jobs.ChargeCard", "billing", "payments.errors.GatewayError",
    "502 from the gateway for order {n}", 5,
    (
        ("shop/jobs.py", 39, "perform", "gateway.charge(order, card)"),
        ("payments/gateway.py", 87, "charge", "raise GatewayError(answer.status, order)"),
    ),
)  # fmt: skip
IMAGE = Failure(
    "shop.jobs.ResizeImages", "images", "PIL.UnidentifiedImageError",
    "cannot identify image file 'upload-{n}.heic'", 25,
)  # fmt: skip
MAIL = Failure(
    "shop.jobs.SendInvoice", "billing", "smtplib.SMTPRecipientsRefused",
    "550 no such mailbox, invoice {n}", 10,
)  # fmt: skip


class Backlog:
    """Writes it all. ``place`` is what a job is about: each has another number."""

    def __init__(self, client: redis.Redis, keys: Keys, chance: random.Random) -> None:
        self._client: Any = client
        self._keys = keys
        self._chance = chance
        self._numbers = iter(range(48_210, 10_000_000))
        self._now = clock.now()

    def fill(self) -> None:
        """Write everything."""
        for queue, (job_class, size, age) in QUEUES.items():
            self._fill_queue(queue, job_class, size, age)
        self._client.sadd(self._keys.paused, "low")
        self._fill_sorted("schedule", self._scheduled())
        self._fill_sorted("retry", self._failed({WAREHOUSE: 96, PAYMENT: 31, IMAGE: 8}, dead=False))
        dead = {WAREHOUSE: 412, PAYMENT: 58, IMAGE: 23, MAIL: 5}
        self._fill_sorted("dead", self._failed(dead, dead=True))
        self._fill_held()
        self._fill_locks()

    def job(self, job_class: str, queue: str, age: float, **fields: Any) -> Payload:
        """Return a job of this class that was enqueued ``age`` seconds ago."""
        at = stamp(self._now - age)
        number = next(self._numbers)
        return Payload(
            {
                "class": job_class, "args": _args(job_class, number), "queue": queue,
                "jid": f"{self._chance.getrandbits(96):024x}", "retry": True,
                "created_at": at, "enqueued_at": at, **fields,
            }
        )  # fmt: skip

    def _fill_queue(self, queue: str, job_class: str, size: int, age: float) -> None:
        self._client.sadd(self._keys.queues, queue)
        for place in range(size):
            job = self.job(job_class, queue, age * (1 - place / size))
            if job_class == "shop.jobs.SendInvoice" and place < LOCKED:
                job = self._locked(job)
            self._client.lpush(self._keys.queue(queue), job.encode())

    def _fill_sorted(self, name: str, jobs: Iterator[tuple[Payload, float]]) -> None:
        entries = {job.encode(): score for job, score in jobs}
        self._client.zadd(self._keys.sorted_set(name), entries)

    def _scheduled(self) -> Iterator[tuple[Payload, float]]:
        for number in range(143):
            job = self.job("shop.jobs.SendDigest", "mail", 3_000.0)
            yield job.replace(enqueued_at=None), self._now + 260 + 251 * number
        for number in range(9):
            job = self.job("shop.jobs.ExportOrders", "reports", 900.0, tags=["nightly"])
            yield job.replace(enqueued_at=None), self._now + 395 + 3_600 * number

    def _failed(self, counts: dict[Failure, int], *, dead: bool) -> Iterator[tuple[Payload, float]]:
        for failure, count in counts.items():
            for place in range(count):
                ago = self._chance.uniform(1_400, 9_000) * (1 + 6 * dead * place / count)
                attempts = failure.retries if dead else self._chance.randint(0, failure.retries - 1)
                job = self._failure(failure, ago, attempts)
                yield job, self._now - ago if dead else self._now + self._chance.uniform(240, 4_000)

    def _failure(self, failure: Failure, ago: float, retries: int) -> Payload:
        job = self.job(
            failure.job_class, failure.queue, ago + 700,
            retry=failure.retries, retry_count=retries, failed_at=stamp(self._now - ago - 690),
            error_class=failure.error,
        )  # fmt: skip
        number = self._chance.randint(1, 4) if failure is WAREHOUSE else _number(job)
        job = job.replace(error_message=failure.message.format(n=number))
        if retries:
            job = job.replace(retried_at=stamp(self._now - ago))
        return job.replace(error_backtrace=failure.backtrace) if failure.backtrace else job

    def _fill_held(self) -> None:
        name = "shop.jobs.SyncStock"
        entries = {}
        for place in range(HELD):
            age = 23 * 60 * (1 - place / HELD)
            job = self.job(name, "default", age + 40, retry=8, backtrace=True)
            held = job.replace(held_at=stamp(self._now - age), held_from="queue")
            entries[held.encode()] = self._now - age
        self._client.zadd(self._keys.held(name), entries)
        self._client.sadd(self._keys.held_classes, name)

    def _fill_locks(self) -> None:
        for number, ttl in ((7, None), (8, 412)):
            lost = self._keys.unique(digest("shop.jobs.ChargeCard", [number, "tok"]))
            self._client.set(lost, f"{self._chance.getrandbits(96):024x}", ex=ttl)

    def _locked(self, job: Payload) -> Payload:
        job = job.replace(unique_for=600, unique_digest=digest(job.job_class, job.args))
        self._client.set(
            self._keys.unique(str(job.unique_digest)), job.jid, ex=self._chance.randint(240, 600)
        )
        return job


def _args(job_class: str, number: int) -> list[Any]:
    name = job_class.rpartition(".")[2]
    if name == "ChargeCard":
        return [number, f"card_{number:x}"]
    if name == "ResizeImages":
        return [f"upload-{number}.jpg", {"widths": [320, 640, 1280]}]
    if name == "ExportOrders":
        return ["2026-Q3", {"format": "csv", "to": "accounts@shop.example"}]
    if name == "RebuildIndex":
        return []
    return [number]


def _number(job: Payload) -> int:
    (number,) = re.findall(r"\d{5,}", str(job.args[0]))
    return int(number)
