"""The pages of the dashboard as pictures: which there are, and how they are taken."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from django.contrib.auth.models import User
from django.urls import reverse

from django_jobqueue import bulk, clock
from django_jobqueue.api import DeadSet, Stats
from tests.support.browser import Browser, Site, Tab

#: Pixels: the widths of a desk and of a phone; how high pictures are at most, and those of lists.
DESK, PHONE = 1280, 390
HEIGHT, OF_LISTS = 1200, 860

#: Seconds of the live chart that are drawn, and those between two looks.
LIVE, EVERY = 300, 5

#: Wires an overview's chart as somebody sees it who has looked on for a while.
_REMEMBER = "([path, samples]) => sessionStorage.setItem(`jq-rates:${path}`, samples)"


@dataclass(frozen=True, slots=True)
class View:
    """A page: what its picture is called, its route, what its address asks for, and pixels."""

    name: str
    route: str
    query: dict[str, Any] = field(default_factory=dict)
    height: int = HEIGHT

    @property
    def address(self) -> str:
        """Where it is in the admin."""
        return reverse(f"admin:jobqueue_{self.route}", query=self.query or None)


@dataclass(frozen=True, slots=True)
class Look:
    """How a page is looked at."""

    width: int = DESK
    scheme: str = "light"

    @property
    def suffix(self) -> str:
        """What tells it from the others in the name of a picture; nothing for the usual one."""
        told = ("dark" if self.scheme == "dark" else "", "phone" if self.width == PHONE else "")
        return "".join(f"-{part}" for part in told if part)


#: All that there are.
LOOKS = tuple(Look(width, scheme) for scheme in ("light", "dark") for width in (DESK, PHONE))


def views() -> list[View]:
    """Return the pages of all kinds, in the order of the tabs."""
    latest = DeadSet().page(count=500, newest_first=True)
    dead = next(each for each in latest if each.job_class == "shop.jobs.ChargeCard")
    return [
        View("overview", "overview", {"days": 30}, 1090),
        View("switches", "switches"),
        View("switch", "switches_one", {"flag": "disable_sync_stock"}),
        View("retries", "retries", height=OF_LISTS),
        View("scheduled", "scheduled", height=OF_LISTS),
        View("dead", "dead", height=OF_LISTS),
        View("held", "held", {"class": "shop.jobs.SyncStock"}, OF_LISTS),
        View("job", "job", {"place": "dead", "key": dead.key}),
        View("queues", "queues"),
        View("queue", "queues_queue", {"of": "billing"}, OF_LISTS),
        View("reconcilers", "reconcilers"),
        View("reconciler", "reconcilers_one", {"reconciler": "shop.jobs.ScheduleCharges"}),
        View("busy", "busy", height=OF_LISTS),
        View("metrics", "metrics"),
        View("metrics-class", "metrics_class", {"job": "shop.jobs.ChargeCard"}),
        View("errors", "errors"),
        View("locks", "locks", height=OF_LISTS),
        View("redis", "server"),
        View("bulk", "bulk"),
        View("bulk-order", "bulk_order", {"id": bulk.recent(1)[0].id}),
        View("bulk-new", "bulk_new", {"place": "retry", "verb": "kill"}, OF_LISTS),
    ]


def chosen() -> Iterator[tuple[View, Look]]:
    """Yield what the manual shows."""
    every = {view.name: view for view in views()}
    for view in every.values():
        yield view, Look()
    yield every["overview"], Look(scheme="dark")
    for name in ("overview", "dead"):
        yield every[name], Look(PHONE)


def everything() -> Iterator[tuple[View, Look]]:
    """Yield every page, looked at in every way."""
    for look in LOOKS:
        for view in views():
            yield view, look


class Shop(Protocol):
    """What is on the pictures: ``shop.opening`` has one."""

    owner: User

    def beat(self) -> None:
        """Let the workers give a sign of life."""

    def work(self, done: int, failed: int) -> None:
        """Count jobs that were done."""


class Camera:
    """Takes pictures of the shop's pages, and tells what the browser complained of."""

    def __init__(self, browser: Browser, site: Site, shop: Shop) -> None:
        self._browser = browser
        self._site = site
        self._shop = shop
        self.troubles: list[str] = []

    def take(self, view: View, look: Look, folder: Path, *, whole: bool = False) -> Path:
        """Write a picture into a folder, and return its path; ``whole`` pages may be any height."""
        tab = self._browser.tab(
            self._site,
            viewport={"width": look.width, "height": 844 if look.width == PHONE else 900},
            color_scheme=look.scheme,
            reduced_motion="reduce",
            locale="en-GB",
        )
        try:
            tab.login(self._shop.owner)
            self._shop.beat()
            if view.route == "overview":
                self._look_on(tab, view)
            tab.open(view.address)
            path = folder / f"{view.name}{look.suffix}.png"
            tallest = 10_000 if whole else HEIGHT if look.width == PHONE else view.height
            tab.do(lambda page: _shoot(page, path, tallest))
            _shrink(path)
            self.troubles += tab.troubles
        finally:
            tab.close()
        return path

    def _look_on(self, tab: Tab, view: View) -> None:
        """Let the browser remember the looks of the last minutes, as it does by itself."""
        tab.open(reverse("admin:index"))
        where = view.address.partition("?")[0]
        tab.do(lambda page: page.evaluate(_REMEMBER, [where, json.dumps(_samples())]))
        self._shop.work(16, 1)


def _samples() -> list[list[float]]:
    """Return what was seen of the totals in the last minutes, the oldest look first."""
    stats, now = Stats(), clock.now()
    looks: list[list[float]] = []
    done, failed = stats.processed, stats.failed
    for number in range(LIVE // EVERY):
        looks.append([now - EVERY * (number + 1), done, failed])
        done -= 14 + number * 5 % 7 - (6 if number % 11 == 3 else 0)
        failed -= 1 if number % 4 == 0 else 0
    return looks[::-1]


def _shoot(page: Any, path: Path, tallest: int) -> None:
    page.wait_for_load_state("networkidle")
    height = page.evaluate("document.documentElement.scrollHeight")
    width = page.viewport_size["width"]
    wider = page.evaluate("document.documentElement.scrollWidth")
    if wider > width:
        raise RuntimeError(f"{page.url} is {wider} px wide, and the window {width}")
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, tallest)}
    page.screenshot(path=path, full_page=True, clip=clip, animations="disabled")


def _shrink(path: Path) -> None:
    """Make a picture a third as large, where the tool for it is at hand."""
    if tool := shutil.which("pngquant"):
        how = ["--force", "--strip", "--speed", "1", "--nofs", "--output", str(path)]
        subprocess.run([tool, *how, "128", "--", str(path)], check=True)
