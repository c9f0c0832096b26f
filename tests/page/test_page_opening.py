"""How a run is opened: what is asked for, how often, and by whom it is told beforehand."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from service.api.preload_hints import run_page_requests
from tests.cli.test_cli_access import make
from tests.page.conftest import EPOCHS
from tests.page.reel import open_run, reel_is_drawn

UNUSED_HINT_MS = 5_000
ORIGIN = re.compile(r"^https?://[^/]+")
HINT = re.compile(r'<link rel="preload" as="fetch" crossorigin href="([^"]+)">')


def hints(document: str) -> list[str]:
    return [address.replace("&amp;", "&") for address in HINT.findall(document)]


@pytest.mark.parametrize("view", ["", "?epoch=3", "?a=layer-cam&epoch=5", "?rows=classes"])
def test_nothing_is_asked_for_twice(page: Page, watched: dict[str, Any], view: str) -> None:
    """A hint at an address that the page writes otherwise would be a request for nothing.

    Chromium complains of it in the console some seconds later, which fails the test.
    """
    asked: Counter[str] = Counter()
    page.on("request", lambda request: asked.update([ORIGIN.sub("", request.url)]))
    open_run(page, watched["id"], view)
    expect(page.locator(".curve canvas")).to_have_count(5)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(UNUSED_HINT_MS)
    document = page.request.get(f"/app/runs/{watched['id']}{view}")
    told = [ORIGIN.sub("", urljoin(document.url, hint)) for hint in hints(document.text())]
    assert len(told) == (4 if view else 9)
    assert {address: count for address, count in asked.items() if count > 1} == {}
    assert set(told) <= set(asked)


@pytest.mark.parametrize(
    ("epochs", "probes", "view", "asked"),
    [
        (0, 0, "", set()),  # no epoch yet: these would be 404
        (1, 0, "", set()),
        (1, 10, "", {"probes.png", "atlas.json", "atlas.bin", "scores"}),  # none of it is counted
        (101, 10, "", {"probes.png", "atlas.json", "atlas.bin", "scores", "blanks"}),
        (101, 10, "epoch=3", set()),
        (129, 10, "", {"probes.png", "blanks"}),  # not all of it in one answer
        (101, 100, "", {"probes.png", "blanks"}),
    ],
)
def test_hints_are_of_what_there_is(epochs: int, probes: int, view: str, asked: set[str]) -> None:
    always = {"", "epochs", "probes", "colormaps"}
    found = {urlsplit(one).path for one in run_page_requests(7, epochs, probes, view)}
    assert {one.removeprefix("/runs/7").strip("/") for one in found} == always | asked


@pytest.mark.parametrize("path", ["/app/runs/999999", "/app/runs/1e3", "/app/runs/٣", "/app"])
def test_there_are_no_hints_without_a_run(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 200
    assert hints(answer.text) == []


def test_an_epoch_that_lands_between_levels_and_layout_mixes_nothing_up(
    page: Page, watched: dict[str, Any], http: httpx.Client
) -> None:
    address = f"/runs/{watched['id']}/atlas.bin"
    asked: list[str] = []

    def one_epoch_less_at_first(route: Route) -> None:
        asked.append(route.request.url)
        if "epochs=" in route.request.url:
            route.continue_()
        else:
            short = http.get(address, params={"epochs": f"0:{EPOCHS - 1}"})
            route.fulfill(status=200, body=short.content, content_type="application/octet-stream")

    page.route(f"**{address}?*", one_epoch_less_at_first)
    open_run(page, watched["id"])
    reel_is_drawn(page)
    assert [("epochs=" in url) for url in asked] == [False, True]


def test_nothing_is_told_of_a_run_to_those_who_may_not_read_it(
    context: Any, new_service: Callable[..., Any], tmp_path: Any
) -> None:
    token = make(tmp_path, "alice", "--scope", "run")
    service = new_service()
    signed = {"authorization": f"Bearer {token}"}
    spec = {"dataset": "digits", "epochs": 1}
    run_id = service.http.post("/runs", json=spec, headers=signed).json()["id"]
    address = f"/app/runs/{run_id}"
    assert hints(service.http.get(address).text) == []
    assert hints(service.http.get(address, headers={"cookie": "camreel_session=guess"}).text) == []
    page = context.new_page()
    page.goto(str(service.http.base_url).rstrip("/") + address)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    # What failed for want of the token is asked for again.
    expect(page.locator(".status").first).to_have_text("succeeded", timeout=60_000)
    expect(page.locator(".reel-label")).not_to_have_count(0)
    cookies = {one["name"]: one["value"] for one in context.cookies()}
    with httpx.Client(base_url=service.http.base_url, cookies=cookies) as client:
        told = hints(client.get(address).text)
    assert f"../../runs/{run_id}" in told
    page.close()
