"""What befalls a demonstration beside its kills: a Redis that loses everything, a kill switch."""

from __future__ import annotations

from contextlib import closing

from redis import Redis
from waffle import get_waffle_flag_model

from django_jobqueue import Job
from django_jobqueue.conf import get_settings
from django_jobqueue.embedded import ensure_server
from django_jobqueue.switches.naming import flag_names


def flush_redis() -> int:
    """
    Send FLUSHALL to the private server of this project, and return how many keys that took.

    The address is that of the embedded server, whatever the settings say of
    others: nobody else's data can be there.
    """
    with closing(Redis.from_url(ensure_server(get_settings().embedded_dir))) as client:
        keys = int(client.dbsize())
        client.flushall()
    return keys


def kill_switch(job: type[Job]) -> str:
    """Return the name of the flag that stops a job."""
    return flag_names(job)[0]


def throw(switch: str, *, on: bool) -> None:
    """Set a flag to Yes or No for everyone and save it, as an operator does in the admin."""
    flag = get_waffle_flag_model().objects.get(name=switch)
    flag.everyone = on
    flag.save()
