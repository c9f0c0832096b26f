"""The service under `CAMREEL_ROOT_PATH`, with a proxy that strips the prefix or keeps it."""

import re
from typing import Any
from urllib.parse import urljoin

import pytest
from pydantic import ValidationError

from service.app import create_app
from service.errors import InvalidValue
from service.settings import Settings
from tests.access.conftest import GuardedService

stripped_or_kept = pytest.mark.parametrize("prefix", ["", "/camreel"], ids=["stripped", "kept"])


@pytest.fixture
def service(new_guarded_service: Any) -> GuardedService:
    service: GuardedService = new_guarded_service(root_path="/camreel/")
    return service


@stripped_or_kept
@pytest.mark.parametrize("path", ["/healthz", "/runs", "/openapi.json", "/docs", "/app/new"])
def test_routes_work_under_the_root_path(service: GuardedService, prefix: str, path: str) -> None:
    assert service.request("GET", prefix + path, "read").status_code == 200


@pytest.mark.parametrize("path", ["/camreelruns", "/other/runs", "/camreel/camreel/runs"])
def test_other_paths_are_404(service: GuardedService, path: str) -> None:
    assert service.request("GET", path, "admin").status_code == 404


@stripped_or_kept
def test_scopes_and_limits_apply(service: GuardedService, prefix: str) -> None:
    assert service.request("GET", f"{prefix}/runs").status_code == 401
    assert service.request("DELETE", f"{prefix}/runs/1", "run").status_code == 403
    assert (
        service.request("GET", f"{prefix}/runs", "read", headers={"host": "evil"}).status_code
        == 400
    )
    too_large = {"content": b"x" * (2**20 + 1), "headers": {"content-type": "application/json"}}
    assert service.request("POST", f"{prefix}/runs", "run", **too_large).status_code == 413


@stripped_or_kept
def test_locations_schema_and_cookie_contain_the_root_path(
    service: GuardedService, prefix: str
) -> None:
    body = {"dataset": "digits", "epochs": 1, "samples_per_epoch": 100}
    created = service.request("POST", f"{prefix}/runs", "run", json=body)
    assert created.headers["location"] == f"/camreel/runs/{created.json()['id']}"
    schema = service.request("GET", f"{prefix}/openapi.json", "read").json()
    assert schema["servers"] == [{"url": "/camreel"}]
    sign_in = service.request("POST", f"{prefix}/session", json={"token": service.tokens["run"]})
    assert "; path=/camreel;" in sign_in.headers["set-cookie"].lower()
    secret = sign_in.headers["set-cookie"].partition(";")[0]
    headers = {"cookie": secret, "x-csrf-token": sign_in.json()["csrf_token"]}
    assert service.request("POST", f"{prefix}/runs/9/cancel", headers=headers).status_code == 404
    sign_out = service.request("DELETE", f"{prefix}/session", headers=headers)
    assert "; path=/camreel;" in sign_out.headers["set-cookie"].lower()


def test_root_path_redirects_to_the_page(service: GuardedService) -> None:
    url = "http://127.0.0.1:8000/camreel"
    for _ in range(2):
        response = service.request("GET", url.removeprefix("http://127.0.0.1:8000"))
        assert response.status_code == 307
        url = urljoin(url, response.headers["location"])
    assert url.endswith("/camreel/app")


@stripped_or_kept
@pytest.mark.parametrize("path", ["/app", "/app/", "/app/runs/1", "/app/runs%2F1", "/app/a/b/c/"])
def test_files_of_the_page_have_relative_urls(
    service: GuardedService, prefix: str, path: str
) -> None:
    page = service.request("GET", prefix + path)
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    if not files:
        pytest.skip("the page is not built")
    page_url = f"http://proxy.example/camreel{path}"
    for file in files:
        url = urljoin(page_url, file)
        assert url.startswith("http://proxy.example/camreel/app/assets/")
        path_without_prefix = url.removeprefix("http://proxy.example/camreel")
        assert service.request("GET", prefix + path_without_prefix).status_code == 200


def test_headers_cannot_set_the_root_path(guarded_service: GuardedService) -> None:
    headers = {
        "x-forwarded-prefix": "/evil",
        "x-script-name": "/evil",
        "x-proxycontextpath": "/evil",
    }
    headers |= {"x-forwarded-path": "/evil", "x-forwarded-context": "/evil"}
    for path in ("/openapi.json", "/docs", "/app", "/app/runs/1", "/"):
        response = guarded_service.request("GET", path, "read", headers=headers)
        assert "evil" not in response.text + str(response.headers)
    assert guarded_service.request("GET", "/evil/runs", "admin", headers=headers).status_code == 404


@pytest.mark.parametrize(
    "text", ["camreel", "//evil.example", "/a//b", "/a/../b", "/a?b", "/a b", "/ä", "/a;b", "/a\n"]
)
def test_invalid_root_path_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="/camreel"):
        Settings(root_path=text)


def test_root_path_that_starts_with_a_route_is_refused() -> None:
    with pytest.raises(InvalidValue, match="root_path"):
        create_app(Settings(root_path="/runs"))
