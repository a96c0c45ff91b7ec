"""``manage.py jobqueue``: what an operator can ask and order, as subcommands."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from functools import cached_property
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseFault

from django_jobqueue.exceptions import EmbeddedServerUnavailable, StoreError
from django_jobqueue.management import subcommands
from django_jobqueue.payload import printable

#: The exit code where nobody reads any more, as ``head``: what a shell makes of SIGPIPE.
UNREAD = 141


class Command(BaseCommand):
    """Hand over to the module of the subcommand."""

    help = "Look after the job queue. Each subcommand has a --help of its own."

    @cached_property
    def _subcommands(self) -> dict[str, ModuleType]:
        modules = (
            import_module(f"{subcommands.__name__}.{found.name}")
            for found in iter_modules(subcommands.__path__)
        )
        return {module.name: module for module in modules}

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the subcommands, each with its own flags."""
        choices = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
        for name, module in sorted(self._subcommands.items()):
            module.add_arguments(
                choices.add_parser(name, help=module.help, description=module.help)
            )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the subcommand and exit with its code."""
        try:
            code = self._subcommands[options["subcommand"]].handle(self, options)
            self.stdout.flush()
        except (StoreError, EmbeddedServerUnavailable) as error:
            raise CommandError(str(error)) from error
        except DatabaseFault as error:
            raise CommandError(
                f"The database does not answer: {printable(str(error))}. See that it runs, and "
                "that manage.py migrate was run."
            ) from error
        except BrokenPipeError:
            # Who read this has seen enough. What is left to write must not raise again at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())
            code = UNREAD
        if code:
            sys.exit(code)
