"""Real Chromium on a real service. Every test's page must stay silent and at home."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from benchmarks.chromium import MISSING, chromium, executable
from tests.page.reel import PATIENCE

EPOCHS = 12

EXPECTED = (
    "status of 404",  # Chromium tells of every refused request; the page tells of it in its words
    "status of 415",
    "status of 422",
    "willReadFrequently",  # these tests read what the page only draws
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if executable() is None:
        pytest.skip(MISSING)
    expect.set_options(timeout=PATIENCE)
    with chromium() as started:
        yield started


@pytest.fixture
def context_options() -> dict[str, Any]:
    """What a test file or class asks of its browser besides the defaults."""
    return {}


@pytest.fixture
def context(
    browser: Browser, http: httpx.Client, context_options: dict[str, Any]
) -> Iterator[BrowserContext]:
    options: dict[str, Any] = {
        "base_url": str(http.base_url),
        "viewport": {"width": 1400, "height": 1000},
        "locale": "en-GB",
        "accept_downloads": True,
    }
    made = browser.new_context(**(options | context_options))
    made.set_default_timeout(PATIENCE)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, http: httpx.Client) -> Iterator[Page]:
    """A tab. Whatever it logs, throws or asks of another origin fails the test."""
    complaints: list[str] = []
    home = str(http.base_url).rstrip("/")

    def left_home(request: Request) -> None:
        if not request.url.startswith((home + "/", "data:", "blob:" + home)):
            complaints.append(f"asked {request.url}")

    made = context.new_page()
    made.on("console", lambda m: m.type in ("error", "warning") and complaints.append(m.text))
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on("request", left_home)
    yield made
    assert [one for one in complaints if not any(known in one for known in EXPECTED)] == []


@pytest.fixture(scope="session")
def watched(service: Any, finished: dict[str, Any]) -> dict[str, Any]:
    """A finished run of enough epochs to scrub, on real MNIST where it is, of a small network."""
    run_id = service.post_run(
        dataset=finished["spec"]["dataset"],
        architecture={"channels": [8, 16], "hidden_units": 32},
        epochs=EPOCHS,
        samples_per_epoch=500,
        name="watched",
        tags=["paper", "page"],
        seed=1,
    )
    ended = service.wait(run_id)
    assert ended["status"] == "succeeded", ended
    return dict(ended)
