"""The system's Chromium, as the page's tests, benchmarks and pictures drive it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

MISSING = "no Chromium here: apt-get install --no-install-recommends chromium-headless-shell"
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser")
"""The same engine: the shell lacks the windows around pages, and draws them in less time."""

# It asks nothing of the internet, and runs as root in containers.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def executable() -> str | None:
    """Its path; None where it is not installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, closed again at the end. Raises SystemExit where it is not installed."""
    path = executable()
    if path is None:
        raise SystemExit(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()
