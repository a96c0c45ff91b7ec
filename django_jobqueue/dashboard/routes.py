"""The kinds of addresses: pages are looked at, acts change something, feeds are for programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.db import Error as DatabaseFault
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.urls import URLPattern, path
from django.utils.decorators import decorator_from_middleware
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from django_jobqueue.dashboard import audit
from django_jobqueue.dashboard.visit import Refused, Visit
from django_jobqueue.exceptions import (
    EmbeddedServerUnavailable,
    InvalidQuery,
    StoreError,
    StoreUnavailable,
)
from django_jobqueue.payload import printable
from django_jobqueue.permissions import Permission

View = Callable[..., HttpResponse]

#: What a form of ours names things by: told where an act broke off. Never what may be arguments.
_TARGETS = (
    "place", "of", "flag", "job", "identity", "id", "digest", "reconciler", "schedule", "only",
    "pick",
)  # fmt: skip

#: A page of another site that has ours in a frame gets nobody to press a button in it.
_unframed = decorator_from_middleware(XFrameOptionsMiddleware)


@dataclass(frozen=True, slots=True)
class Done:
    """
    What an act did.

    ``message`` is for the operator, translated; ``target`` is what it was done to, and
    ``count`` to how many, for the log. ``removes`` is whether something is gone for
    good. ``to`` is the page that comes next, by default the one that the form was on.
    """

    message: str
    target: str
    count: int = 1
    level: int = messages.SUCCESS
    removes: bool = False
    to: str | None = None


class BrokeOff(Exception):
    """Redis failed in the middle of an act; ``done`` is what was done until then."""

    def __init__(self, done: Done, error: StoreError) -> None:
        super().__init__(done, error)
        self.done = done
        self.error = error


@dataclass(frozen=True, slots=True)
class Page:
    """
    An address to look at: GET and HEAD only, and nothing is changed.

    ``view(visit, **arguments of the path)`` returns a response.
    """

    path: str
    name: str
    view: Callable[..., HttpResponse]
    needs: Permission = Permission.VIEW_DASHBOARD

    def pattern(self, site: AdminSite) -> URLPattern:
        """Return the URL pattern of it under a site."""
        return _pattern(self, require_safe(_let_in(site, self.needs, self._answer)))

    def _answer(self, visit: Visit, **kwargs: Any) -> HttpResponse:
        try:
            return self.view(visit, **kwargs)
        except Http404 as error:
            return _missing(visit, error)
        except InvalidQuery as error:
            return _sorry(visit, _("That cannot be asked"), str(error), 400)
        except (StoreUnavailable, EmbeddedServerUnavailable) as error:
            return _sorry(visit, _("Redis does not answer"), str(error), 503)
        except StoreError as error:
            return _sorry(visit, _("Redis refuses to tell"), str(error), 503)
        except DatabaseFault as error:
            return _no_database(visit, error)


@dataclass(frozen=True, slots=True)
class Act:
    """
    An address that changes something: POST only, with a CSRF token and a permission.

    ``view(visit, **arguments of the path)`` does it and returns ``Done``, which is told to
    the operator and written down; or it raises ``Refused`` or InvalidQuery, and neither
    is done.
    """

    path: str
    name: str
    view: Callable[..., Done]
    #: There is no default: whoever adds an act has to say what it takes.
    needs: Permission

    def pattern(self, site: AdminSite) -> URLPattern:
        """Return the URL pattern of it under a site."""
        return _pattern(self, _let_in(site, self.needs, self._answer))

    def _answer(self, visit: Visit, **kwargs: Any) -> HttpResponse:
        if visit.request.method != "POST":
            return _only_by_button(visit)
        try:
            done = self.view(visit, **kwargs)
        except (Refused, InvalidQuery) as error:
            messages.error(visit.request, str(error))
            return HttpResponseRedirect(visit.back)
        except Http404 as error:
            return _missing(visit, error)
        except BrokeOff as broken:
            return self._broke_off(visit, broken.done, broken.error)
        except (StoreError, EmbeddedServerUnavailable) as error:
            # Some of it may have been done before: that must not go unrecorded.
            return self._broke_off(visit, Done("", _target(visit), 0), error)
        except DatabaseFault as error:
            audit.log(visit, self.name, _target(visit), 0)
            return _no_database(visit, error)
        try:
            audit.write(
                visit, self.name, done.target, done.count, done.message, removes=done.removes
            )
        except DatabaseFault as error:  # the line in the process's log stands
            return _no_database(visit, error, done.message)
        messages.add_message(visit.request, done.level, done.message)
        return HttpResponseRedirect(done.to or visit.back)

    def _broke_off(self, visit: Visit, done: Done, error: Exception) -> HttpResponse:
        told = f"broke off: {error}. {done.message}".rstrip()
        audit.write(visit, self.name, done.target, done.count, told, removes=done.removes)
        title = _("Redis did not do it, or not all of it")
        return _sorry(visit, title, f"{done.message} {error}".lstrip(), 503)


@dataclass(frozen=True, slots=True)
class Feed:
    """
    An address for programs: GET and HEAD only, by a token or a permission.

    ``view(request, site, **arguments of the path)`` checks itself who asks, for a program
    is to be told 401 and not to be sent to a page where people log in.
    """

    path: str
    name: str
    view: View

    def pattern(self, site: AdminSite) -> URLPattern:
        """Return the URL pattern of it under a site."""

        # Not even where everybody has to: a program with a token has nowhere to log in.
        @login_not_required
        def view(request: HttpRequest, **kwargs: Any) -> HttpResponse:
            return self.view(request, site, **kwargs)

        return _pattern(self, require_safe(never_cache(view)))


Route = Page | Act | Feed


def _pattern(route: Route, view: View) -> URLPattern:
    return path(route.path, view, name=f"jobqueue_{route.name}")


def _let_in(
    site: AdminSite, needs: Permission, answer: Callable[..., HttpResponse]
) -> Callable[..., HttpResponse]:
    """Return the view that lets in who is of the staff and has the permission, and nobody else."""

    def view(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        visit = Visit(request, site)
        if not (visit.may(Permission.VIEW_DASHBOARD) and visit.may(needs)):
            raise PermissionDenied(_("You need the permission “%s”.") % needs.label)
        return answer(visit, **kwargs)

    # Login, no cache, CSRF and no frame, also where the project has not the middleware for it.
    inside: View = site.admin_view(view)
    return cast("View", _unframed(inside))


def _target(visit: Visit) -> str:
    """Return what a form names, as far as it may be written down."""
    return ", ".join(each for name in _TARGETS for each in visit.request.POST.getlist(name))


def _only_by_button(visit: Visit) -> HttpResponse:
    told = _(
        "Nothing was done: this address does something only by the button of a page. Where you "
        "had to log in first, go back to the page and press it again."
    )
    answer = _sorry(visit, _("Nothing was done"), told, 405)
    answer.headers["Allow"] = "POST"
    return answer


def _no_database(visit: Visit, error: Exception, done: str = "") -> HttpResponse:
    told = _("See that it runs, and that manage.py migrate was run.")
    title = _("The database does not answer")
    if done:
        title = _("Done, but not written down: the database does not answer")
    return _sorry(visit, title, f"{done} {printable(str(error))[:300]}. {told}".lstrip(), 503)


def _missing(visit: Visit, error: Http404) -> HttpResponse:
    told = str(error) or _("What this address led to is not there, or not there any more.")
    return _sorry(visit, _("Not found"), told, 404)


def _sorry(visit: Visit, title: str, told: str, status: int) -> HttpResponse:
    return visit.show("error.html", title, status=status, told=printable(told))
