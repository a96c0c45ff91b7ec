"""What the dashboard's templates load: links, permissions, buttons, and numbers for people."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

from django import template
from django.template import Context
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from django_jobqueue import clock

register = template.Library()

#: Lengths of time, in seconds, from the longest on, with how each is written.
_LENGTHS = ((86_400, "d"), (3_600, "h"), (60, "min"))

#: In place of what is unknown.
NOTHING = "-"

#: Behind which a name may be broken.
_JOINTS = re.compile(r"(?<=[._:/])(?=[^._:/])")

_SIZES = ("B", "kB", "MB", "GB", "TB")


# Links and buttons ---------------------------------------------------------------


@register.simple_tag(takes_context=True)
def board(context: Context, name: str, /, *args: Any, **query: Any) -> str:
    """Return the address of a route: ``{% board "queues_queue" queue.name start=50 %}``."""
    return str(context["visit"].url(name, *args, **query))


@register.simple_tag(takes_context=True)
def may(context: Context, permission: str) -> bool:
    """Return whether the user has a permission: ``{% may "retry_job" as ok %}``."""
    return bool(context["visit"].may(permission))


@register.inclusion_tag("django_jobqueue/act.html", takes_context=True)
def act(
    context: Context,
    name: str,
    /,
    *args: Any,
    label: str,
    perm: str,
    confirm: str = "",
    css: str = "",
    about: str = "",
    **hidden: Any,
) -> dict[str, Any]:
    """
    Show a button that posts to an act; nothing to a user who lacks the permission ``perm``.

    With ``confirm`` that word has to be typed first. ``about`` tells a screen reader
    which of many equal buttons it is. Other keywords become hidden fields.
    """
    visit = context["visit"]
    if not visit.may(perm):
        return {}
    return {
        "url": visit.url(name, *args),
        "next": visit.request.get_full_path(),
        "label": label,
        "confirm": confirm,
        "css": css,
        "about": about,
        # As a text: a template would put a number in the way of the active language.
        "hidden": [(name, str(value)) for name, value in hidden.items()],
        "csrf_token": context.get("csrf_token"),
    }


@register.simple_tag(takes_context=True)
def chart(context: Context, drawn: Any) -> str:
    """Show a chart of ``dashboard.charts``, whose own template it is rendered by."""
    return render_to_string(drawn.template, {"chart": drawn})


# Times and numbers ---------------------------------------------------------------


@register.simple_tag
def when(at: datetime | float | None) -> str:
    """Show a moment as its age, or how far off it is, with the time itself as a tooltip."""
    moment = _moment(at)
    if moment is None:
        return NOTHING
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), stamp(moment), ago(moment)
    )


@register.filter
def stamp(at: datetime | float | None) -> str:
    """Return the date and the time of a moment with its zone, to the second."""
    moment = _moment(at)
    if moment is None:
        return NOTHING
    return date_format(_local(moment), "Y-m-d H:i:s T")


@register.filter
def ago(at: datetime | float | None) -> str:
    """Return the age of a datetime or of epoch seconds: ``3 min ago``, ``in 2 h``."""
    moment = _moment(at)
    if moment is None:
        return NOTHING
    age = clock.now() - moment.timestamp()
    if abs(age) < 1:
        return _("now")
    if age > 0:
        return _("%(length)s ago") % {"length": seconds(age)}
    return pgettext("a moment to come", "in %(length)s") % {"length": seconds(-age)}


@register.filter
def seconds(length: float | None) -> str:
    """Return a length of time for people: ``0.3 s``, ``12 s``, ``2 h 5 min``, ``4 d 2 h``."""
    if length is None or not math.isfinite(length):
        return NOTHING
    if length < 1:
        return f"{number_format(length * 1000, 0)} ms"
    if length < 60:
        return f"{number_format(length, 1 if length < 10 else 0)} s"
    for at, (size, unit) in enumerate(_LENGTHS):
        if length >= size:
            whole, rest = divmod(int(length), size)
            told = f"{number_format(whole, force_grouping=True)} {unit}"
            smaller = _LENGTHS[at + 1 :][:1]
            if smaller and whole < 10 and rest >= smaller[0][0]:
                told += f" {rest // smaller[0][0]} {smaller[0][1]}"
            return told
    raise AssertionError(length)


@register.filter
def count(number: float | None) -> str:
    """Return a number with its thousands apart: ``12,345``."""
    if number is None:
        return NOTHING
    return number_format(number, 0, force_grouping=True)


@register.filter(name="bytes")
def size(number: float | None) -> str:
    """Return a number of bytes for people: ``1.2 GB``, by the thousand."""
    if number is None or not math.isfinite(number):
        return NOTHING
    for unit in _SIZES:
        if abs(number) < 1000 or unit == _SIZES[-1]:
            break
        number /= 1000
    return f"{number_format(number, 0 if unit == 'B' or number >= 100 else 1)} {unit}"


@register.filter
def breakable(name: str) -> str:
    """Show a name so that a line may break between its words, and not in one."""
    first, *rest = _JOINTS.split(name)
    return format_html("{}{}", first, format_html_join("", "<wbr>{}", ((part,) for part in rest)))


def _local(moment: datetime) -> datetime:
    try:
        return timezone.localtime(moment) if timezone.is_aware(moment) else moment
    except OverflowError:  # the first or the last day of the calendar, and past it elsewhere
        return moment


def _moment(at: datetime | float | None) -> datetime | None:
    if at is None or isinstance(at, datetime):
        return at
    try:
        return datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):  # what no calendar has
        return None
