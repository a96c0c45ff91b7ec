"""Texts that want to be more than text, and a Redis and a database that are full of them."""

from __future__ import annotations

import json
from typing import Any

import redis
from django.contrib.auth.models import User
from django.utils import timezone
from waffle.models import Flag

from django_jobqueue import bulk, clock
from django_jobqueue.api import Filter
from django_jobqueue.models import KillSwitchEvent, ReconcilerRun, ReconcilerState, Schedule
from django_jobqueue.store.keys import Keys
from django_jobqueue.store.metrics import MINUTE, sums_key

#: What would run, forge a line, break out of an attribute, or turn up as markup.
TEXTS = (
    "<script>window.xss=1</script>",
    "<img src=x onerror=window.xss=1>",
    "<svg onload=window.xss=1>",
    '"><script>window.xss=1</script>',
    "'><script>window.xss=1</script>",
    '" onmouseover="window.xss=1" x="',
    "' onfocus='window.xss=1' autofocus x='",
    "</textarea><script>window.xss=1</script>",
    "</title><script>window.xss=1</script>",
    "</pre><jqx onclick=window.xss=1>x</jqx>",
    "</script><script>window.xss=1</script>",
    "</style><script>window.xss=1</script>",
    "<!--<script>window.xss=1</script>-->",
    "<a href=javascript:window.xss=1>x</a>",
    "javascript:window.xss=1",
    "data:text/html,<script>window.xss=1</script>",
    "{{ 7|add:7 }}{% now 'Y' %}",
    "${window.xss=1}",
    "<iframe srcdoc='<script>parent.xss=1</script>'>",
    "<math><mtext><style><img src=x onerror=window.xss=1></style>",
    "<details open ontoggle=window.xss=1>",
    "<base href=//evil.example/>",
    "<form action=//evil.example/><button>x",
    "<meta http-equiv=refresh content='0;url=//evil.example/'>",
    "&lt;script&gt;window.xss=1&lt;/script&gt;",
    "\u202e<script>window.xss=1</script>",
    "<scr\x00ipt>window.xss=1</scr\x00ipt>",
    "line\r\nroot: forged (1)\n<b>x</b>",
    "\x1b[31m\x1b]0;title\x07<b>x</b>",
    "../../../admin/?next=//evil.example/&x=<b>#%00%0a",
    "%(count)s {0.__class__} %s %n <b>x</b>",
    "-",
    "",
    " ",
    "💥" * 20 + "<b>x</b>",
    "x" * 3000 + "<b>x</b>",
)


def payload_of(text: str, **fields: Any) -> bytes:
    """Return a job that has a text wherever a payload has one."""
    return json.dumps(
        {
            "class": text or "x", "args": [text, {text: [text]}], "jid": text or "x", "queue": text,
            "display_class": text, "tags": [text], "cattr": {text: text}, "retry": 5,
            "created_at": 1_700_000_000_000, "enqueued_at": 1_700_000_000_000,
            "failed_at": 1_700_000_000_000, "retry_count": 1, "error_class": text,
            "error_message": text, "error_backtrace": [text, text], "unique_digest": text,
            "held_from": text, text or "x": text, **fields,
        }
    ).encode()  # fmt: skip


def plant(client: redis.Redis, keys: Keys, texts: tuple[str, ...] = TEXTS) -> None:
    """Write the texts into every key and field that pages read."""
    now = clock.now()
    minute = sums_key(keys, now - 120, MINUTE)
    pipe = client.pipeline(transaction=False)
    for number, text in enumerate(texts):
        raw, at = payload_of(text), now - number
        pipe.sadd(keys.queues, text)
        pipe.rpush(keys.queue(text), raw, f"no job {text}".encode())
        pipe.rpush(keys.queue("low"), raw)
        pipe.sadd(keys.paused, text)
        for name in ("schedule", "retry", "dead"):
            pipe.zadd(keys.sorted_set(name), {raw: at, f"no job {text}".encode(): at})
        pipe.sadd(keys.held_classes, text)
        pipe.zadd(keys.held(text), {raw: at})
        pipe.set(keys.unique(text), text, ex=600)
        pipe.set(keys.unique(f"{number:032x}"), text, ex=600)
        pipe.sadd(keys.processes, text)
        info = {
            "hostname": text, "tag": text, "identity": text, "labels": [text], "version": text,
            "queues": [text], "weights": [{text: 1}], "pid": text, "started_at": text,
            "concurrency": text,
        }  # fmt: skip
        pipe.hset(
            keys.process(text),
            mapping={"info": json.dumps(info), "busy": text, "beat": text, "rss": text,
                     "rtt_us": text, "quiet": text},
        )  # fmt: skip
        work = {"queue": text, "run_at": text, "payload": raw.decode()}
        pipe.hset(keys.work(text), text, json.dumps(work))
        pipe.zadd(keys.leases, {text: now + 60})
        pipe.hset(keys.claims(text), f"b:1:{text}", raw)
        pipe.hset(minute, mapping={f"{text}|p": 1, f"{text}|ms": 5})
        pipe.hset(keys.marks(timezone.now().strftime("%Y%m%d")), f"{at}", text)
        pipe.hset(keys.switches, f"disable_{text}", text)
        pipe.hset(keys.counters, text, 1)
    pipe.set(keys.leader, texts[0])
    pipe.execute()
    for text in texts:
        meant = Filter(job_class=text[:200], text=text[:200])
        bulk.ask(bulk.Order(bulk.Verb.KILL, "queue:low", meant, text[:100], now))


def plant_rows(texts: tuple[str, ...] = TEXTS) -> None:
    """Write the texts into the tables that pages read."""
    at = timezone.now()
    printable = [text.replace("\x00", "") for text in texts]  # no database takes it
    Flag.objects.bulk_create(
        [
            Flag(name=name, everyone=True)
            for name in dict.fromkeys(f"disable_{text}"[:100] for text in printable)
        ]
    )
    for text in printable:
        KillSwitchEvent.objects.create(
            flag=f"disable_{text}"[:100], old_state=text[:20], new_state="on", actor=text[:150],
            source="admin",
        )  # fmt: skip
        ReconcilerRun.objects.create(
            name=text[:200], status=text[:30], started_at=at, finished_at=at, error=text
        )
    for name in dict.fromkeys(text[:200] for text in printable):
        ReconcilerState.objects.create(name=name, status=name[:30], error=name, started_at=at)
        Schedule.objects.create(name=name, last_tick=1)
    User.objects.create_superuser("<script>window.xss=1</script>")
