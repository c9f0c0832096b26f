"""Opening a run: which requests its page makes, how often, and which of them are preloaded."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from service.api.preload_hints import run_page_requests
from tests.cli.test_cli_access import create_token
from tests.page.conftest import EPOCHS
from tests.page.reel import open_run, reel_is_drawn

UNUSED_HINT_WARNING_MS = 5_000
ORIGIN = re.compile(r"^https?://[^/]+")
HINT = re.compile(r'<link rel="preload" as="fetch" crossorigin href="([^"]+)">')


def hints(document: str) -> list[str]:
    return [address.replace("&amp;", "&") for address in HINT.findall(document)]


@pytest.mark.parametrize(
    "view",
    [
        "",
        "?rows=classes",
        pytest.param("?epoch=3", marks=pytest.mark.torture),
        pytest.param("?a=layer-cam&epoch=5", marks=pytest.mark.torture),
    ],
)
def test_no_request_is_made_twice(page: Page, page_run: dict[str, Any], view: str) -> None:
    """A hint whose URL differs from the page's own would be a wasted request.

    Chromium warns of an unused hint in the console after some seconds, which fails the test.
    """
    requests: Counter[str] = Counter()
    page.on("request", lambda request: requests.update([ORIGIN.sub("", request.url)]))
    open_run(page, page_run["id"], view)
    expect(page.locator(".curve canvas")).to_have_count(5)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(UNUSED_HINT_WARNING_MS)
    document = page.request.get(f"/app/runs/{page_run['id']}{view}")
    hinted = [ORIGIN.sub("", urljoin(document.url, hint)) for hint in hints(document.text())]
    assert len(hinted) == (4 if view else 12)
    assert {address: count for address, count in requests.items() if count > 1} == {}
    assert set(hinted) <= set(requests)


@pytest.mark.parametrize(
    ("epochs", "probes", "view", "expected"),
    [
        (0, 0, "", set()),  # without an epoch, the others would be 404
        (1, 0, "", set()),
        (
            1,
            10,
            "",
            {"probes.png", "atlas.json", "atlas.bin", "scores"},
        ),  # epoch 0 is not counted among the blanks
        (101, 10, "", {"probes.png", "atlas.json", "atlas.bin", "scores", "blanks"}),
        (101, 10, "epoch=3", set()),
        (129, 10, "", {"probes.png", "blanks"}),  # too many epochs for one response
        (101, 100, "", {"probes.png", "blanks"}),
    ],
)
def test_hints_for_runs_of_different_sizes(
    epochs: int, probes: int, view: str, expected: set[str]
) -> None:
    always = {"", "epochs", "probes", "colormaps"}
    paths = {urlsplit(hint).path for hint in run_page_requests(7, epochs, probes, view)}
    assert {path.removeprefix("/runs/7").strip("/") for path in paths} == always | expected


@pytest.mark.parametrize("path", ["/app/runs/999999", "/app/runs/1e3", "/app/runs/٣", "/app"])
def test_no_hints_without_a_run(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 200
    assert hints(answer.text) == []


def test_epoch_recorded_between_levels_and_layout(
    page: Page, page_run: dict[str, Any], http: httpx.Client
) -> None:
    address = f"/runs/{page_run['id']}/atlas.bin"
    requests: list[tuple[str, bool]] = []

    def drop_last_epoch_once(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        method = query["method"][0]
        requests.append((method, "epochs" in query))
        if "epochs" in query:
            route.continue_()
        else:
            shorter = http.get(address, params={"method": method, "epochs": f"0:{EPOCHS - 1}"})
            route.fulfill(status=200, body=shorter.content, content_type="application/octet-stream")

    page.route(f"**{address}?*", drop_last_epoch_once)
    open_run(page, page_run["id"])
    reel_is_drawn(page)
    repeated = [("conventional", False), ("conventional", True)]
    assert sorted(requests) == [*repeated, ("proposed", False), ("proposed", True)]


def test_hints_require_the_read_scope(
    context: Any, new_service: Callable[..., Any], tmp_path: Any
) -> None:
    token = create_token(tmp_path, "alice", "--scope", "run")
    service = new_service()
    headers = {"authorization": f"Bearer {token}"}
    spec = {"dataset": "digits", "epochs": 1}
    run_id = service.http.post("/runs", json=spec, headers=headers).json()["id"]
    address = f"/app/runs/{run_id}"
    assert hints(service.http.get(address).text) == []
    assert hints(service.http.get(address, headers={"cookie": "camreel_session=guess"}).text) == []
    page = context.new_page()
    page.goto(str(service.http.base_url).rstrip("/") + address)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    # The page repeats the requests that failed before the sign-in.
    expect(page.locator(".status").first).to_have_text("succeeded", timeout=60_000)
    expect(page.locator(".reel-label")).not_to_have_count(0)
    cookies = {cookie["name"]: cookie["value"] for cookie in context.cookies()}
    with httpx.Client(base_url=service.http.base_url, cookies=cookies) as client:
        paths = hints(client.get(address).text)
    assert f"../../runs/{run_id}" in paths
    page.close()
