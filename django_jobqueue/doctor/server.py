"""The server: whether it is one that jobs are safe with, as its own words and settings tell."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from django.utils.translation import gettext as _

from django_jobqueue.doctor.finding import Finding, fault, note, warning
from django_jobqueue.doctor.patient import Patient
from django_jobqueue.doctor.words import megabytes, names
from django_jobqueue.redis_url import parse
from django_jobqueue.store.keys import hash_tag
from django_jobqueue.store.server import OLDEST

#: The share of its memory from which on a server is soon full, and as good as full.
TIGHT, FULL = 0.8, 0.95


def check_kind(patient: Patient) -> Iterator[Finding]:
    """Tell of a server that no worker could work with."""
    facts = patient.facts
    if facts.mode == "sentinel":
        yield fault(
            "sentinel",
            _("What answers at %(address)s is a Sentinel, not the Redis that it watches.")
            % {"address": facts.address},
            _("Write JOBQUEUE['REDIS_URL'] as in 'redis+sentinel://HOST:26379/MASTER/0'."),
        )
        return
    if facts.redis_version and facts.is_too_old:
        yield fault(
            "too-old",
            _("Redis %(version)s is too old.") % {"version": facts.version},
            _("Update it to %(oldest)s at least.") % {"oldest": ".".join(map(str, OLDEST))},
        )
    if facts.mode == "cluster" and not hash_tag(patient.store.keys.prefix):
        yield fault(
            "no-hash-tag",
            _("Redis is a cluster, and the keys do not share a slot."),
            _("Set JOBQUEUE['KEY_PREFIX'] to '{jobs}:'."),
        )
    if facts.role == "slave":
        yield fault(
            "replica",
            _("Redis at %(address)s is a replica: it takes no jobs.") % {"address": facts.address},
            _("Let JOBQUEUE['REDIS_URL'] lead to the master; where that changes, by the Sentinels "
              "or the nodes of the cluster."),
        )  # fmt: skip


def check_memory(patient: Patient) -> Iterator[Finding]:
    """Tell of a server that throws jobs away, or has soon no room for more."""
    facts = patient.facts
    if facts.evicts:
        make = warning if patient.settings.allow_eviction else fault
        yield make(
            "evicts",
            _("maxmemory-policy is %(policy)s: when Redis is full, it throws jobs away.")
            % {"policy": facts.eviction},
            _("Set it to noeviction, in redis.conf or by CONFIG SET maxmemory-policy noeviction. "
              "Put caches into a Redis of their own."),
        )  # fmt: skip
    if facts.fullness is None:
        if facts.max_memory == 0:
            yield note(
                "no-memory-limit",
                _("maxmemory is not set: what Redis takes ends where the machine ends, and then "
                  "the kernel kills it or another program."),
                _("Set maxmemory to what the machine can spare, with noeviction: then enqueues "
                  "fail with an error that callers see, and no accepted job is lost."),
            )  # fmt: skip
    elif facts.fullness >= TIGHT:
        make = fault if facts.fullness >= FULL else warning
        yield make(
            "memory",
            _("Redis uses %(used)s of %(most)s (%(percent)d %%): when it is full, every enqueue "
              "fails.")
            % {
                "used": megabytes(facts.used_memory or 0),
                "most": megabytes(facts.max_memory or 0),
                "percent": round(facts.fullness * 100),
            },
            _("Look for what grows: a queue that nobody works, the dead set, held jobs. Delete "
              "what is not needed, or raise maxmemory."),
        )  # fmt: skip


def check_persistence(patient: Patient) -> Iterator[Finding]:
    """Tell of a server that does not keep what it was given."""
    facts = patient.facts
    if facts.appends is False and facts.snapshots is False:
        yield warning(
            "no-persistence",
            _("Redis keeps nothing on its disk: when it restarts, all jobs are gone, and only "
              "those that a reconciler heals come back."),
            _("Set appendonly to yes, and appendfsync to everysec or always."),
        )  # fmt: skip
    elif facts.appends is False:
        yield note(
            "snapshots-only",
            _("Redis writes its data down only now and then: when it crashes, all jobs since the "
              "last snapshot are gone."),
            _("Set appendonly to yes."),
        )  # fmt: skip
    failed = [
        file
        for file, went_well in (
            (_("the append-only file"), facts.append_ok),
            (_("the last snapshot"), facts.snapshot_ok),
        )
        if went_well is False
    ]
    if failed:
        yield fault(
            "write-failed",
            _("Redis could not write %(files)s.") % {"files": names(failed)},
            _("Look at its log: the disk may be full, or the folder not its own. Until that is "
              "mended a restart loses jobs, and Redis may refuse every write."),
        )  # fmt: skip


def check_rights(patient: Patient) -> Iterator[Finding]:
    """Tell what our user may not do: a worker would not start with it."""
    missing = patient.store.permissions.missing()
    if missing:
        yield fault(
            "rights",
            _("The user of Redis may not use %(missing)s.") % {"missing": missing},
            _("Give it the rights that manage.py jobqueue acl prints for this KEY_PREFIX."),
        )


def check_network(patient: Patient) -> Iterator[Finding]:
    """Tell of a server that lets in whoever reaches it, or is talked to in the clear."""
    settings = patient.settings
    url = parse(settings.redis_url) if settings.redis_url else None
    if url is None or not url.hosts:  # the embedded one, or a socket of this machine
        return
    peer = patient.store.server.peer()
    if not peer:
        return
    address = ipaddress.ip_address(peer.partition("%")[0])
    if not url.has_credentials and not address.is_loopback:
        make = fault if address.is_global and not settings.allow_no_auth else warning
        yield make(
            "no-password",
            _("Redis at %(address)s lets us in without a password, and so everybody who reaches "
              "it.") % {"address": patient.store.address},
            _("Make a user with the rights that manage.py jobqueue acl prints, take them from the "
              "user “default”, and name the user in JOBQUEUE['REDIS_URL']."),
        )  # fmt: skip
    if address.is_global and not url.is_encrypted:
        yield warning(
            "plain-text",
            _("Redis at %(address)s is reached over a public network in plain text: passwords and "
              "jobs can be read on the way.") % {"address": patient.store.address},
            _("Turn its TLS on, and begin JOBQUEUE['REDIS_URL'] with rediss."),
        )  # fmt: skip
