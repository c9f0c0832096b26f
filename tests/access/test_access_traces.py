"""The audit log, the request log, and the security headers of every response."""

import json
import re
from typing import Any

import pytest

from service.api.middleware.security_headers import HEADERS
from service.jobs.inline import InlineExecutor
from service.store import audit
from service.web import page
from tests.access.conftest import GuardedService


def entries(service: GuardedService, **params: Any) -> list[dict[str, Any]]:
    response = service.request("GET", "/audit", "admin", params=params)
    assert response.status_code == 200
    return list(response.json()["items"])


def test_change_is_recorded_in_the_audit_log(
    new_guarded_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InlineExecutor, "submit", lambda *_: None)  # no run is trained
    service = new_guarded_service()
    spec = {"dataset": "digits", "epochs": 1}
    headers = {"x-request-id": "my-request.1"}
    created = service.request("POST", "/runs", "run", json=spec, headers=headers)
    assert created.status_code == 201
    service.request("DELETE", "/runs/1", "run")
    service.request("DELETE", "/runs/1", "admin")
    service.request("POST", "/session", json={"token": service.tokens["read"]})
    service.request("POST", "/session", json={"token": "guess"})
    service.request("DELETE", "/runs/1")  # no token
    service.request("GET", "/runs", "read")  # not a change
    records = [(e["actor"], e["action"], e["target"], e["outcome"]) for e in entries(service)]
    assert records[:5] == [
        ("unknown at 127.0.0.1", "POST /session", "/session", "401"),
        ("reader", "POST /session", "/session", "200"),
        ("adminer", "DELETE /runs/{run_id}", "/runs/1", "204"),
        ("runer", "DELETE /runs/{run_id}", "/runs/1", "403"),
        ("runer", "POST /runs", "/runs/1", "201"),
    ]
    assert records[5][:2] == ("test", "token revoke")
    newest = entries(service, limit=5)
    assert newest[-1]["request_id"] == created.headers["x-request-id"] == "my-request.1"
    assert newest[-1]["created_at"].endswith("Z")


def test_audit_log_is_paginated(new_guarded_service: Any) -> None:
    service = new_guarded_service()
    all_ids = [entry["id"] for entry in entries(service)]
    first_response = service.request("GET", "/audit?limit=2", "admin").json()
    second_response = service.request(
        "GET", f"/audit?limit=200&cursor={first_response['next']}", "admin"
    ).json()
    assert [e["id"] for e in first_response["items"] + second_response["items"]] == all_ids
    assert second_response["next"] is None


def test_changes_of_an_open_service_are_recorded(new_guarded_service: Any) -> None:
    service = new_guarded_service(has_tokens=False)
    service.request("DELETE", "/runs/7")
    (entry,) = entries(service)
    assert (entry["actor"], entry["target"], entry["outcome"]) == ("anyone", "/runs/7", "404")


def test_change_succeeds_although_its_audit_entry_cannot_be_written(
    new_guarded_service: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from service.store_errors import StoreBusy

    service = new_guarded_service()

    def busy(*_: object, **__: object) -> None:
        raise StoreBusy("busy")

    monkeypatch.setattr(audit, "record", busy)
    assert service.request("DELETE", "/runs/7", "admin").status_code == 404
    assert "audit log not written" in capfd.readouterr().err


# The request log


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line[:1] == "{"]
    return [line for line in entries if line["event"] == "request"]


def test_request_is_logged_in_one_line(
    new_guarded_service: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    service = new_guarded_service(log_requests=True)
    response = service.request("GET", "/runs/12?x=y", "read")
    service.request("GET", "/nowhere/else")
    first, second = lines(capfd)
    assert first["request_id"] == response.headers["x-request-id"]
    assert (first["method"], first["route"]) == ("GET", "/runs/{run_id}")
    assert (first["status"], first["principal"]) == (404, "reader")
    assert first["duration_ms"] > 0
    assert (second["route"], second["status"], second["principal"]) == (None, 401, None)


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 41, "\xe9", "a;b", "a\tb"])
def test_invalid_request_id_is_replaced(guarded_service: GuardedService, request_id: str) -> None:
    response = guarded_service.request(
        "GET", "/healthz", headers={"x-request-id": request_id.encode("latin-1")}
    )
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])


def test_secrets_are_in_no_log_and_no_body(
    new_guarded_service: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    service = new_guarded_service(log_requests=True)
    token = service.tokens["admin"]
    sign_in = service.request("POST", "/session", json={"token": token})
    cookie, csrf = sign_in.cookies["camreel_session"], sign_in.json()["csrf_token"]
    by_cookie = {"cookie": f"camreel_session={cookie}", "x-csrf-token": csrf}
    responses = [
        service.request("GET", f"/runs/{token}", "admin"),
        service.request("GET", f"/{token}", "admin"),
        service.request("DELETE", f"/runs/{token}", "admin"),
        service.request("GET", f"/runs?token={token}"),
        service.request("GET", f"/runs?search={token}", "admin"),
        service.request("GET", f"/runs?cursor={csrf}", "admin"),
        service.request("POST", "/runs", "admin", json={"name": 5, token: token}),
        service.request("POST", "/runs", "admin", content=token.encode()),
        service.request("POST", "/session", json={"token": token, "x": token}),
        service.request("POST", "/session", content=f'{{"token": "{token}'),
        service.request("GET", "/runs", "admin", headers={"x-request-id": token}),
        service.request("GET", "/runs", headers={"x-request-id": cookie, **by_cookie}),
        service.request("GET", "/runs", headers={"host": token}),
        service.request(
            "GET", "/runs", headers={"user-agent": token, "referer": f"http://x/{token}"}
        ),
        service.request(
            "POST", "/runs/1/cancel", headers={"origin": f"http://{token}", **by_cookie}
        ),
        service.request("POST", "/runs/1/cancel", headers=by_cookie),
        service.request(token, "/runs", "admin"),
        service.request("DELETE", "/session", headers=by_cookie),
    ]
    audit_log = service.request("GET", "/audit", "admin").text
    stdout, stderr = capfd.readouterr()
    assert stderr.count('"event": "request"') == len(responses) + 2
    for secret in (token, cookie, csrf):
        assert secret not in stdout + stderr + audit_log
    for response in responses:
        assert response.status_code < 500
        # A problem names unknown keys of the client's body.
        if response.request.url.path != "/runs" or response.request.method != "POST":
            assert token not in response.text
        assert cookie not in response.text
        assert cookie not in str(response.headers)


# Headers


@pytest.mark.parametrize(
    ("path", "token"),
    [
        ("/runs", "read"), ("/runs", None), ("/runs/9", "read"), ("/nowhere", "admin"),
        ("/docs", "read"), ("/healthz", None), ("/static-offline-docs/swagger-ui.css", "read"),
        ("/metrics", "read"), ("/openapi.json", "read"), ("/runs?token=x", None), ("/app", None),
    ],
)  # fmt: skip
def test_every_response_has_the_security_headers(
    guarded_service: GuardedService, path: str, token: str | None
) -> None:
    response = guarded_service.request("GET", path, token)
    for name, value in HEADERS.items():
        assert response.headers[name.decode()] == value.decode()
    policy = response.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["x-request-id"]


def test_unexpected_error_has_security_headers_and_no_details(
    new_guarded_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = new_guarded_service()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr("service.store.runs.get", fail)
    response = service.request("GET", "/runs/1", "read")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "/secret/path" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"


def test_page_has_its_own_content_security_policy(guarded_service: GuardedService) -> None:
    response = guarded_service.request("GET", "/app")
    if response.status_code == 404:
        pytest.skip("this installation has no page")
    assert response.headers["content-security-policy"] == page.CONTENT_SECURITY_POLICY
