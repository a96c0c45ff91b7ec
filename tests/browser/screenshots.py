"""
Take the pictures of the manual: ``python -m tests.browser.screenshots [folder]``.

With ``--all`` every page is taken whole, light and dark, at a desk and on a phone, for people
who want to see what a change of a style has done. It needs a Chromium and a Redis of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import django

from tests.support.server import RedisServer

#: Where the pictures of the manual are.
FOLDER = Path(__file__).parents[2] / "docs" / "_static" / "dashboard"


def main() -> int:
    """Take what is asked for. Returns 1 when the browser complained of something."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots")
    parser.add_argument("folder", nargs="?", type=Path, help=f"default: {FOLDER}")
    parser.add_argument("--all", action="store_true", help="every page in every way, whole")
    parser.add_argument("--only", metavar="NAME", help="pictures whose name begins so")
    options = parser.parse_args()
    if options.all and options.folder is None:
        parser.error("--all wants a folder: these are not the pictures of the manual")
    folder: Path = options.folder or FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    # Redis has a limit, so that its page can tell how full it is.
    with RedisServer({"maxmemory": "64mb"}) as server, tempfile.TemporaryDirectory() as scratch:
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.browser.shop_settings"
        os.environ["SHOP_REDIS_URL"] = server.url
        os.environ["SHOP_DATABASE"] = str(Path(scratch, "shop.sqlite3"))
        django.setup()
        return _take(server, folder, every=options.all, only=options.only or "")


def _take(server: RedisServer, folder: Path, *, every: bool, only: str) -> int:
    # They need models, which can be imported only now.
    from django.core.management import call_command

    from tests.support.browser import Browser, Site

    album = import_module("tests.browser.album")
    call_command("migrate", run_syncdb=True, verbosity=0)
    shop = import_module("shop.opening").open_shop(server.client())
    with Browser() as browser, Site() as site:
        camera = album.Camera(browser, site, shop)
        for view, look in album.everything() if every else album.chosen():
            if (view.name + look.suffix).startswith(only):
                path = camera.take(view, look, folder, whole=every)
                sys.stdout.write(f"{path.name}: {path.stat().st_size / 1000:.0f} kB\n")
    for trouble in camera.troubles:
        sys.stderr.write(f"{trouble}\n")
    return 1 if camera.troubles else 0


if __name__ == "__main__":
    sys.exit(main())
