"""Say a thing that goes on being true once a minute, and not each time."""

from __future__ import annotations

import logging

from django_jobqueue import clock

#: Seconds between two lines about the same trouble.
EVERY = 60.0


class Seldom:
    """One line of a log, as often as once a minute."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._next = 0.0

    def warn(self, message: str, *args: object) -> None:
        """Log a warning, unless that was done within the last minute."""
        now = clock.monotonic()
        if now >= self._next:
            self._next = now + EVERY
            self._logger.warning(message, *args)
