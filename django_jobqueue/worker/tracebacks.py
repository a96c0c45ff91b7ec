"""Tracebacks for the log: what a job's error says must not look like another entry."""

from __future__ import annotations

import logging
import traceback

from django_jobqueue.payload import printable
from django_jobqueue.scrubbing import is_hiding, scrub


class PlainTraceback(logging.Filter):
    """
    Logging filter: write a record's traceback in printable, indented lines.

    An error's message is whatever its input made it: with line breaks, terminal
    codes, or characters that no encoding holds. The exception itself stays on
    the record, for those who collect it; not so where there is something to hide, for its
    frames hold the arguments. Drops no record.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the text that formatters use in place of their own."""
        if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
            lines = "".join(traceback.format_exception(record.exc_info[1])).splitlines()
            record.exc_text = "\n".join(f"  {printable(scrub(line))}" for line in lines)
            if is_hiding():
                record.exc_info = None
        return True
