"""Ask an operator to type a word before something is done that cannot be undone."""

from __future__ import annotations

from django.core.management.base import BaseCommand, CommandError


def confirm(command: BaseCommand, warning: str, word: str) -> None:
    """
    Print a warning and go on only when ``word`` is typed.

    Raises: CommandError for anything else, and where nobody is there to type.
    """
    command.stdout.write(warning)
    try:
        typed = input(f"Type {word!r} to go on: ")
    except EOFError:
        raise CommandError("There is no terminal to confirm this at: give --yes.") from None
    if typed != word:
        raise CommandError("Nothing was done.")
