"""Who may read the feeds: a program by its token, a person by a permission."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from django_jobqueue.conf import get_settings
from django_jobqueue.permissions import Permission


class Access(Enum):
    """The answer to who asks; those that are no are the status of HTTP."""

    GRANTED = 200
    #: Nobody known: a token that is missing or wrong, or nobody logged in.
    UNKNOWN = 401
    #: Somebody known, who may not.
    FORBIDDEN = 403


def access(
    request: HttpRequest, lets_in: Callable[[HttpRequest], bool] = lambda request: True
) -> Access:
    """
    Return whether a request may read the feeds.

    Either it brings the token of ``JOBQUEUE["METRICS_TOKEN"]`` in the header
    ``Authorization: Bearer``, and nowhere else: addresses end up in logs. Or somebody is
    logged in who has the permission ``view_dashboard`` and whom ``lets_in`` accepts, as an
    admin site does with its ``has_permission``. Who brings a wrong token is not asked
    for anything else.

    Raises: ImproperlyConfigured.
    """
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return Access.GRANTED if _is_token(given.strip()) else Access.UNKNOWN
    user = getattr(request, "user", None)  # a project may have no such middleware
    if user is None or not user.is_authenticated:
        return Access.UNKNOWN
    may = lets_in(request) and user.has_perm(Permission.VIEW_DASHBOARD.full_name)
    return Access.GRANTED if may else Access.FORBIDDEN


def _is_token(given: str) -> bool:
    """Tell by the time that it takes nothing about the token but its length."""
    token = get_settings().metrics_token
    if not token:
        return False
    # Headers come as Latin-1, whatever was in them.
    return constant_time_compare(given.encode("latin-1", "replace"), token.encode())
