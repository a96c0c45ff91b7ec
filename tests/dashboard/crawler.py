"""Walk from page to page by the links, as a curious operator does, and look at each."""

from __future__ import annotations

from collections import Counter
from urllib.parse import parse_qsl, urlsplit

from django.test import Client
from django.urls import resolve

from tests.dashboard.reading import Reader

#: Pages of one route that are looked at: those of many queues are alike.
ALIKE = 3


class Crawler:
    """
    What was found behind the links: ``pages`` by address, and ``parameters`` of queries.

    ``faults`` are answers that no page may give, and markup that no page may have.
    """

    def __init__(self, browser: Client, start: str, *, alike: int = ALIKE) -> None:
        self._browser = browser
        self._alike = alike
        self._root = start
        self._met: Counter[str | None] = Counter()
        self.pages: dict[str, Reader] = {}
        self.parameters: set[str] = set()
        self.faults: list[str] = []
        self._waiting = [start]

    def walk(self) -> None:
        """Follow every link below the start."""
        seen = set(self._waiting)
        while self._waiting:
            address = self._waiting.pop(0)
            page = self.visit(address)
            if page is None:
                continue
            for link in page.links:
                link = link.partition("#")[0]
                if link.startswith("?"):
                    link = address.partition("?")[0] + link
                if link.startswith(self._root) and link not in seen:
                    seen.add(link)
                    self._waiting.append(link)
                    self.parameters |= {name for name, _ in parse_qsl(urlsplit(link).query)}
            for form in page.forms:
                if form.method == "get":
                    self.parameters |= set(form.fields)

    def visit(self, address: str) -> Reader | None:
        """Look at one page and keep it."""
        page = self.look(address)
        if page is not None:
            self.pages[address] = page
        return page

    def look(self, address: str) -> Reader | None:
        """Get one page and look at it; None for enough of its kind, or what is no page."""
        kind = resolve(urlsplit(address).path).url_name
        self._met[kind] += 1
        if self._met[kind] > self._alike:
            return None  # not even got: most links lead to more of a kind
        answer = self._browser.get(address)
        if answer.status_code not in (200, 302, 400, 404, 503):
            self.faults.append(f"{address!r}: {answer.status_code}")
        if not answer["Content-Type"].startswith("text/html") or answer.status_code == 404:
            return None
        page = Reader(answer.content.decode())
        self.faults += [f"{address!r}: {fault}" for fault in page.faults]
        return page
