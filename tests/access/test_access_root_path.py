"""Below `CAMREEL_ROOT_PATH`, whether the proxy strips it or passes it on."""

import re
from typing import Any
from urllib.parse import urljoin

import pytest
from pydantic import ValidationError

from service.app import create_app
from service.errors import InvalidValue
from service.settings import Settings
from tests.access.conftest import Guarded

stripped_or_not = pytest.mark.parametrize("sent", ["", "/camreel"], ids=["stripped", "whole"])


@pytest.fixture
def below(guarded: Any) -> Guarded:
    service: Guarded = guarded(root_path="/camreel/")
    return service


@stripped_or_not
@pytest.mark.parametrize("path", ["/healthz", "/runs", "/openapi.json", "/docs", "/app/new"])
def test_routes_are_answered(below: Guarded, sent: str, path: str) -> None:
    assert below.ask("GET", sent + path, "read").status_code == 200


@pytest.mark.parametrize("path", ["/camreelruns", "/other/runs", "/camreel/camreel/runs"])
def test_other_paths_are_404(below: Guarded, path: str) -> None:
    assert below.ask("GET", path, "admin").status_code == 404


@stripped_or_not
def test_scopes_and_limits_hold(below: Guarded, sent: str) -> None:
    assert below.ask("GET", f"{sent}/runs").status_code == 401
    assert below.ask("DELETE", f"{sent}/runs/1", "run").status_code == 403
    assert below.ask("GET", f"{sent}/runs", "read", headers={"host": "evil"}).status_code == 400
    too_large = {"content": b"x" * (2**20 + 1), "headers": {"content-type": "application/json"}}
    assert below.ask("POST", f"{sent}/runs", "run", **too_large).status_code == 413


@stripped_or_not
def test_locations_schema_and_cookie_are_below_it(below: Guarded, sent: str) -> None:
    body = {"dataset": "digits", "epochs": 1, "samples_per_epoch": 100}
    made = below.ask("POST", f"{sent}/runs", "run", json=body)
    assert made.headers["location"] == f"/camreel/runs/{made.json()['id']}"
    schema = below.ask("GET", f"{sent}/openapi.json", "read").json()
    assert schema["servers"] == [{"url": "/camreel"}]
    signed = below.ask("POST", f"{sent}/session", json={"token": below.tokens["run"]})
    assert "; path=/camreel;" in signed.headers["set-cookie"].lower()
    secret = signed.headers["set-cookie"].partition(";")[0]
    shown = {"cookie": secret, "x-csrf-token": signed.json()["csrf_token"]}
    assert below.ask("POST", f"{sent}/runs/9/cancel", headers=shown).status_code == 404
    ended = below.ask("DELETE", f"{sent}/session", headers=shown)
    assert "; path=/camreel;" in ended.headers["set-cookie"].lower()


def test_the_path_itself_leads_to_the_page(below: Guarded) -> None:
    address = "http://127.0.0.1:8000/camreel"
    for _ in range(2):
        answer = below.ask("GET", address.removeprefix("http://127.0.0.1:8000"))
        assert answer.status_code == 307
        address = urljoin(address, answer.headers["location"])
    assert address.endswith("/camreel/app")


@stripped_or_not
@pytest.mark.parametrize("path", ["/app", "/app/", "/app/runs/1", "/app/runs%2F1", "/app/a/b/c/"])
def test_the_pages_files_are_named_relative_to_it(below: Guarded, sent: str, path: str) -> None:
    page = below.ask("GET", sent + path)
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    if not files:
        pytest.skip("the page is not built")
    shown = f"http://proxy.example/camreel{path}"
    for file in files:
        address = urljoin(shown, file)
        assert address.startswith("http://proxy.example/camreel/app/assets/")
        own = address.removeprefix("http://proxy.example/camreel")
        assert below.ask("GET", sent + own).status_code == 200


def test_no_header_sets_it(shared: Guarded) -> None:
    told = {"x-forwarded-prefix": "/evil", "x-script-name": "/evil", "x-proxycontextpath": "/evil"}
    told |= {"x-forwarded-path": "/evil", "x-forwarded-context": "/evil"}
    for path in ("/openapi.json", "/docs", "/app", "/app/runs/1", "/"):
        answer = shared.ask("GET", path, "read", headers=told)
        assert "evil" not in answer.text + str(answer.headers)
    assert shared.ask("GET", "/evil/runs", "admin", headers=told).status_code == 404


@pytest.mark.parametrize(
    "text", ["camreel", "//evil.example", "/a//b", "/a/../b", "/a?b", "/a b", "/ä", "/a;b", "/a\n"]
)
def test_a_root_path_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="/camreel"):
        Settings(root_path=text)


def test_a_root_path_that_begins_like_a_route_is_refused() -> None:
    with pytest.raises(InvalidValue, match="root_path"):
        create_app(Settings(root_path="/runs"))
