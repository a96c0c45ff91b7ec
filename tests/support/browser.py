"""
A real browser for tests, and a server whose pages it must be able to show under a strict policy.

Playwright's own thread runs an event loop, in which Django lets nobody touch the database;
so it has a thread of its own here, and the test keeps the one that it is in.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.test import Client
from django.test.testcases import LiveServerThread

from tests.support.polling import wait_until

T = TypeVar("T")

#: What a browser may be called, Debian's first.
BINARIES = ("chromium", "chromium-browser", "google-chrome")

#: How to get one.
WAY_OUT = "apt install chromium; pip install -e '.[test,browser]'"

#: The strictest policy that allows a site its own files: nothing in line, nothing from elsewhere.
POLICY = "default-src 'self'"

#: Milliseconds that the browser waits for what a test expects to see.
PATIENCE = 15_000

#: What Chromium says of a page that is not a 200.
_NOT_LOADED = "Failed to load resource"

#: What it asks for by itself, and no site of ours has.
_ICON = "/favicon.ico"


def find_browser() -> Path | None:
    """Return the path of a Chromium, None where there is none."""
    return next((Path(found) for name in BINARIES if (found := shutil.which(name))), None)


# The server -------------------------------------------------------------------------


class Policed(StaticFilesHandler):
    """Serves the site and its static files, each answer under the policy."""

    #: How many requests are being answered.
    running = 0
    _lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] == _ICON:
            start_response("204 No Content", [])
            return []

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, ("Content-Security-Policy", POLICY)], *rest)

        self._count(1)
        try:
            return super().__call__(environ, start)
        finally:
            self._count(-1)

    @classmethod
    def _count(cls, change: int) -> None:
        with cls._lock:
            Policed.running += change


class Site:
    """The project of the tests on a port, served by threads of this process."""

    def __init__(self) -> None:
        self._thread = LiveServerThread("localhost", Policed)

    def __enter__(self) -> Self:
        self._thread.daemon = True
        self._thread.start()
        self._thread.is_ready.wait()
        if self._thread.error:
            raise self._thread.error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.terminate()

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://localhost:{self._thread.port}"

    def settle(self) -> None:
        """Wait until nothing is being answered: what a page asked for as it was closed."""
        wait_until(lambda: Policed.running == 0, what="the last answers of the site")


# The browser ------------------------------------------------------------------------


class Browser:
    """
    Chromium without a window. Its methods may be called from one thread at a time.

    Raises: RuntimeError where there is none.
    """

    def __init__(self) -> None:
        binary = find_browser()
        if binary is None:
            raise RuntimeError(f"There is no Chromium: {WAY_OUT}")
        self._thread = ThreadPoolExecutor(1, "browser")
        self._playwright, self._browser = self.do(lambda: _start(binary))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.do(self._browser.close)
        self.do(self._playwright.stop)
        self._thread.shutdown()

    def do(self, call: Callable[[], T]) -> T:
        """Call something in the thread of Playwright, and return what it returns."""
        return self._thread.submit(call).result()

    def tab(self, site: Site, **options: Any) -> Tab:
        """Open a window with cookies of its own; ``options`` are those of ``new_context``."""
        return Tab(self, site, options)


def _start(binary: Path) -> tuple[Any, Any]:
    from playwright.sync_api import sync_playwright  # here: who has not got it skips these tests

    playwright = sync_playwright().start()
    return playwright, playwright.chromium.launch(executable_path=binary)


class Tab:
    """
    One page of the browser, and what went wrong in it.

    Things are found as people find them: by the text of a button or link, by the
    label of a field. What is expected is waited for.
    """

    def __init__(self, browser: Browser, site: Site, options: dict[str, Any]) -> None:
        self._browser = browser
        self._site = site
        self._troubles: list[tuple[str, str]] = []
        self._context = browser.do(lambda: browser._browser.new_context(**options))
        self._page = browser.do(self._open)

    def _open(self) -> Any:
        self._context.set_default_timeout(PATIENCE)
        page = self._context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self._troubles.append((page.url, str(error))))
        page.on("dialog", lambda dialog: self._troubles.append((page.url, dialog.message)))
        return page

    def _heard(self, message: Any) -> None:
        where = message.location.get("url", "")
        if message.type == "error":
            self._troubles.append((where, message.text))

    def close(self) -> None:
        """Close it, and wait until the server has answered all that it asked for."""
        self.do(lambda page: self._context.close())
        self._site.settle()

    def do(self, call: Callable[[Any], T]) -> T:
        """Give Playwright's page to a function, in its thread; for what has no word here."""
        return self._browser.do(lambda: call(self._page))

    @property
    def troubles(self) -> list[str]:
        """What the console showed as errors: broken scripts, files, and the policy."""
        # What was said before a call that is made now has been heard when it returns.
        self.do(lambda page: page.evaluate("1"))
        return [f"{where}: {text}" for where, text in self._troubles]

    # Coming and going ----------------------------------------------------------

    def login(self, user: User) -> None:
        """Be somebody, by a cookie: the login page has a test of its own."""
        client = Client()
        client.force_login(user)
        cookie = {
            "name": settings.SESSION_COOKIE_NAME,
            "value": client.cookies[settings.SESSION_COOKIE_NAME].value,
            "url": self._site.url,
        }
        self.do(lambda page: self._context.add_cookies([cookie]))

    def open(self, path: str, status: int = 200) -> None:
        """Go to an address of the site. Raises: AssertionError for another status."""
        answer = self.do(lambda page: page.goto(f"{self._site.url}{path}"))
        assert answer.status == status, f"{path}: {answer.status}\n{self.text('body')}"
        if status >= 400:  # it was asked for, so it is no trouble
            self._troubles = [
                (where, told)
                for where, told in self._troubles
                if not (where == answer.url and told.startswith(_NOT_LOADED))
            ]

    @property
    def path(self) -> str:
        """Where it is now, without the host and what is behind the ``?``."""
        return urlsplit(self.do(lambda page: str(page.url))).path

    # Seeing ----------------------------------------------------------------------

    def text(self, selector: str = "#content") -> str:
        """Return the text of an element as people see it."""
        return str(self.do(lambda page: page.locator(selector).first.inner_text()))

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements, also of those that are hidden."""
        return list(self.do(lambda page: page.locator(selector).all_inner_texts()))

    def count(self, selector: str) -> int:
        """Return how many elements there are."""
        return int(self.do(lambda page: page.locator(selector).count()))

    def wait_for_text(self, text: str, selector: str = "#container") -> None:
        """Wait until an element contains a text."""
        from playwright.sync_api import expect

        self.do(
            lambda page: expect(page.locator(selector).first).to_contain_text(
                text, timeout=PATIENCE
            )
        )

    def evaluate(self, script: str) -> Any:
        """Return what a script of one expression returns, in JSON's types."""
        return self.do(lambda page: page.evaluate(script))

    # Doing -----------------------------------------------------------------------

    def press(self, name: str, within: str = "body") -> None:
        """Press the first button, or follow the first link, with this text."""

        def press(page: Any) -> None:
            place = page.locator(within).first
            button = place.get_by_role("button", name=name, exact=True)
            link = place.get_by_role("link", name=name, exact=True)
            button.or_(link).first.click()
            page.wait_for_load_state()

        self.do(press)

    def fill(self, label: str, value: str) -> None:
        """Write into the field with this label."""
        self.do(lambda page: page.get_by_label(label, exact=True).first.fill(value))

    def tick(self, selector: str) -> None:
        """Tick a box."""
        self.do(lambda page: page.locator(selector).first.check())

    # Time ------------------------------------------------------------------------

    def hold_time(self) -> None:
        """From here on time passes in the pages as ``pass_time`` says; call it before ``open``."""
        self.do(lambda page: page.clock.install())

    def pass_time(self, seconds: float) -> None:
        """Let the timers of the page run for so long, without a wait."""
        self.do(lambda page: page.clock.run_for(round(seconds * 1000)))

    def screenshot(self, path: Path) -> None:
        """Write what is seen as a PNG, the whole page."""
        self.do(lambda page: page.screenshot(path=path, full_page=True))


def trouble_of(tabs: Iterable[Tab]) -> str:
    """Return what went wrong in tabs as text; an empty one for nothing."""
    return "\n".join(told for tab in tabs for told in tab.troubles)
