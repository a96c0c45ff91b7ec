"""One request of somebody who was let in: what they may, where links lead, how a page is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from django_jobqueue.dashboard.navigation import tabs
from django_jobqueue.permissions import Permission

#: Jobs that one form can name: more than a page shows.
PICKED = 100


class Refused(Exception):
    """
    What was asked for cannot be done; the sentence tells why, and what to do instead.

    Nothing was done, so nothing is written down. Not a failure.
    """


@dataclass(frozen=True, slots=True)
class Visit:
    """A request and the admin site that it came in by."""

    request: HttpRequest
    site: AdminSite

    def may(self, permission: Permission | str) -> bool:
        """Return whether the user has a permission. Raises: ValueError for one that is none."""
        return bool(self.request.user.has_perm(Permission(permission).full_name))

    @property
    def query(self) -> dict[str, str]:
        """What stands in the address behind the ``?``; of what comes twice, the last."""
        return self.request.GET.dict()

    @property
    def form(self) -> dict[str, str]:
        """What was posted; of what comes twice, the last (see ``pick``)."""
        return self.request.POST.dict()

    @property
    def actor(self) -> str:
        """The user's name, for what is written down."""
        return str(self.request.user.get_username())

    # Where links lead ----------------------------------------------------------

    def url(self, name: str, /, *args: Any, **query: Any) -> str:
        """
        Return the address of a route, under the same site as this request.

        ``query`` goes behind the ``?``, without what is None or empty. What no address can
        hold, as a lone surrogate that came in by JSON, is told by its number there.
        """
        match = self.request.resolver_match
        namespace = match.namespace if match is not None else self.site.name
        address = reverse(f"{namespace}:jobqueue_{name}", args=args)
        wanted = {key: value for key, value in query.items() if value not in (None, "")}
        return f"{address}?{urlencode(wanted, errors='backslashreplace')}" if wanted else address

    @property
    def back(self) -> str:
        """Where the form says that it came from, if that is a page of this host; else the start."""
        wanted = self.form.get("next", "")
        if url_has_allowed_host_and_scheme(
            wanted, {self.request.get_host()}, require_https=self.request.is_secure()
        ):
            return wanted
        return self.url("overview")

    # What was typed and ticked ---------------------------------------------------

    def require_typed(self, word: str) -> None:
        """Go on only where ``word`` was typed into the field ``confirm``. Raises: Refused."""
        if self.form.get("confirm", "").strip() != word:
            raise Refused(
                _("Nothing was done: to confirm, type “%(word)s” exactly.") % {"word": word}
            )

    def pick(self) -> list[str]:
        """Return the ticked values of the field ``pick``. Raises: Refused for none or too many."""
        picked = list(dict.fromkeys(self.request.POST.getlist("pick")))
        if not picked:
            raise Refused(_("Nothing was done: tick at least one."))
        if len(picked) > PICKED:
            raise Refused(
                _("Nothing was done: %(count)d are ticked, and %(most)d at once are possible.")
                % {"count": len(picked), "most": PICKED}
            )
        return picked

    # Showing -------------------------------------------------------------------

    def show(self, template: str, title: str, *, status: int = 200, **context: Any) -> HttpResponse:
        """
        Return a page: a template of ours in the frame of the admin.

        It is rendered here, so that whatever asks Redis on the way is caught with
        the view.
        """
        # The admin's own templates find their links by it.
        self.request.current_app = self.site.name
        everything = {
            **self.site.each_context(self.request),
            "title": title,
            "visit": self,
            "tabs": tabs(self.request.resolver_match, self.url),
            **context,
        }
        return render(self.request, f"django_jobqueue/{template}", everything, status=status)
