"""When to give up: a demonstration that hangs shows nothing."""

from __future__ import annotations

import time


class Stalled(Exception):
    """Nothing has changed for ``patience`` seconds."""

    def __init__(self, patience: float) -> None:
        super().__init__(patience)
        self.patience = patience

    def __str__(self) -> str:
        return f"Nothing has changed for {self.patience:g} s: giving up."


class Watch:
    """Look at the state of the work, whatever it is, and tell when it has stood still too long."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._seen: object = None
        self._since = time.monotonic()

    def see(self, state: object) -> None:
        """
        Take note of the present state.

        Raises: Stalled when it has been the same for ``patience`` seconds.
        """
        now = time.monotonic()
        if state != self._seen:
            self._seen, self._since = state, now
        if now - self._since > self._patience:
            raise Stalled(self._patience)
