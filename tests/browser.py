"""A headless Chromium for tests of pages: what it asked for, and what it complained of."""

import contextlib
import shutil
from typing import NamedTuple

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


class Opened(NamedTuple):
    """A page (playwright's), and what went on in it."""

    page: object
    requests: list  # addresses
    complaints: list  # errors and warnings of the console, and exceptions


@contextlib.contextmanager
def started():
    """A browser for some tests; they are skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"needs one of {', '.join(NAMES)}")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS])
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(browser, path, width=1400, height=900, **options):
    """The page of this file in a window of its own; `options`: color_scheme and the like."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    try:
        shown = Opened(context.new_page(), [], [])
        shown.page.on("request", lambda request: shown.requests.append(request.url))
        shown.page.on("console", lambda said: _take_down(shown, said))
        shown.page.on("pageerror", lambda error: shown.complaints.append(str(error)))
        shown.page.goto(path.as_uri())
        yield shown
    finally:
        context.close()


def _take_down(shown, said):
    if said.type in ("error", "warning"):
        shown.complaints.append(said.text)
