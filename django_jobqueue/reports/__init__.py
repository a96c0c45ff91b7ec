"""
What an operator sees, as plain data: pages, commands and the JSON API show the same.

A module for each thing that is looked at, with a function of its name: ``overview``,
``queues``, ``processes`` (and ``work``), ``entries`` (and ``job``), ``errors``, ``locks``,
``metrics``, ``server``, ``bulk``, ``switches``, ``reconcilers``, ``schedules``. Each
returns a frozen value whose ``as_dict()`` is plain JSON. Each has a bound to what it reads, and
raises StoreError where Redis does not answer. Arguments of jobs are shown only where that
is asked for, and then redacted.
"""
