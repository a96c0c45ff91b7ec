"""
The subcommands of ``manage.py jobqueue``, one a module.

Each module has ``name``, ``help``, ``add_arguments(parser)`` and
``handle(command, options)``, which returns the exit code; ``command.stdout`` is
where it writes.
"""
