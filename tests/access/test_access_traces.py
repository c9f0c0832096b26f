"""What is left behind: the audit log, the log of requests, and the headers of every answer."""

import json
import re
from typing import Any

import pytest

from service.api.middleware.security_headers import HEADERS
from service.store import audit
from service.web import page
from tests.access.conftest import Guarded


def entries(service: Guarded, **params: Any) -> list[dict[str, Any]]:
    answer = service.ask("GET", "/audit", "admin", params=params)
    assert answer.status_code == 200
    return list(answer.json()["items"])


def test_a_change_is_written_down_with_who_what_when_and_how_it_ended(
    guarded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.flows.runs.dispatch_run", lambda *_: None)  # nothing trains here
    service = guarded()
    spec = {"dataset": "digits", "epochs": 1}
    given = {"x-request-id": "my-request.1"}
    made = service.ask("POST", "/runs", "run", json=spec, headers=given)
    assert made.status_code == 201
    service.ask("DELETE", "/runs/1", "run")
    service.ask("DELETE", "/runs/1", "admin")
    service.ask("POST", "/session", json={"token": service.tokens["read"]})
    service.ask("POST", "/session", json={"token": "guess"})
    service.ask("DELETE", "/runs/1")  # nobody known
    service.ask("GET", "/runs", "read")  # no change
    matches = [(e["actor"], e["action"], e["target"], e["outcome"]) for e in entries(service)]
    assert matches[:5] == [
        ("unknown at 127.0.0.1", "POST /session", "/session", "401"),
        ("reader", "POST /session", "/session", "200"),
        ("adminer", "DELETE /runs/{run_id}", "/runs/1", "204"),
        ("runer", "DELETE /runs/{run_id}", "/runs/1", "403"),
        ("runer", "POST /runs", "/runs/1", "201"),
    ]
    assert matches[5][:2] == ("test", "token revoke")
    newest = entries(service, limit=5)
    assert newest[-1]["request_id"] == made.headers["x-request-id"] == "my-request.1"
    assert newest[-1]["created_at"].endswith("Z")


def test_the_audit_log_comes_in_pages(guarded: Any) -> None:
    service = guarded()
    complete_table = [entry["id"] for entry in entries(service)]
    first_response = service.ask("GET", "/audit?limit=2", "admin").json()
    second_response = service.ask(
        "GET", f"/audit?limit=200&cursor={first_response['next']}", "admin"
    ).json()
    assert [e["id"] for e in first_response["items"] + second_response["items"]] == complete_table
    assert second_response["next"] is None


def test_an_open_services_changes_are_written_down_too(guarded: Any) -> None:
    service = guarded(claimed=False)
    service.ask("DELETE", "/runs/7")
    (entry,) = entries(service)
    assert (entry["actor"], entry["target"], entry["outcome"]) == ("anyone", "/runs/7", "404")


def test_a_change_is_answered_though_its_entry_cannot_be_written(
    guarded: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from service.errors import StoreBusy

    service = guarded()

    def busy(*_: object, **__: object) -> None:
        raise StoreBusy("busy")

    monkeypatch.setattr(audit, "record", busy)
    assert service.ask("DELETE", "/runs/7", "admin").status_code == 404
    assert "audit log not written" in capfd.readouterr().err


# The log of requests


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    matches = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line[:1] == "{"]
    return [line for line in matches if line["event"] == "request"]


def test_a_request_is_one_line(guarded: Any, capfd: pytest.CaptureFixture[str]) -> None:
    service = guarded(log_requests=True)
    answer = service.ask("GET", "/runs/12?x=y", "read")
    service.ask("GET", "/nowhere/else")
    first, second = lines(capfd)
    assert first["request_id"] == answer.headers["x-request-id"]
    assert (first["method"], first["route"]) == ("GET", "/runs/{run_id}")
    assert (first["status"], first["principal"]) == (404, "reader")
    assert first["duration_ms"] > 0
    assert (second["route"], second["status"], second["principal"]) == (None, 401, None)


@pytest.mark.parametrize("given", ["", "a b", "x" * 41, "\xe9", "a;b", "a\tb"])
def test_a_request_id_that_is_not_short_and_plain_is_not_taken(shared: Guarded, given: str) -> None:
    answer = shared.ask("GET", "/healthz", headers={"x-request-id": given.encode("latin-1")})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


def test_no_secret_is_in_a_log_a_body_or_the_audit_log(
    guarded: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    service = guarded(log_requests=True)
    token = service.tokens["admin"]
    signed = service.ask("POST", "/session", json={"token": token})
    cookie, csrf = signed.cookies["camreel_session"], signed.json()["csrf_token"]
    by_cookie = {"cookie": f"camreel_session={cookie}", "x-csrf-token": csrf}
    answers = [
        service.ask("GET", f"/runs/{token}", "admin"),
        service.ask("GET", f"/{token}", "admin"),
        service.ask("DELETE", f"/runs/{token}", "admin"),
        service.ask("GET", f"/runs?token={token}"),
        service.ask("GET", f"/runs?search={token}", "admin"),
        service.ask("GET", f"/runs?cursor={csrf}", "admin"),
        service.ask("POST", "/runs", "admin", json={"name": 5, token: token}),
        service.ask("POST", "/runs", "admin", content=token.encode()),
        service.ask("POST", "/session", json={"token": token, "x": token}),
        service.ask("POST", "/session", content=f'{{"token": "{token}'),
        service.ask("GET", "/runs", "admin", headers={"x-request-id": token}),
        service.ask("GET", "/runs", headers={"x-request-id": cookie, **by_cookie}),
        service.ask("GET", "/runs", headers={"host": token}),
        service.ask("GET", "/runs", headers={"user-agent": token, "referer": f"http://x/{token}"}),
        service.ask("POST", "/runs/1/cancel", headers={"origin": f"http://{token}", **by_cookie}),
        service.ask("POST", "/runs/1/cancel", headers=by_cookie),
        service.ask(token, "/runs", "admin"),
        service.ask("DELETE", "/session", headers=by_cookie),
    ]
    told = service.ask("GET", "/audit", "admin").text
    out, err = capfd.readouterr()
    assert err.count('"event": "request"') == len(answers) + 2
    for secret in (token, cookie, csrf):
        assert secret not in out + err + told
    for answer in answers:
        assert answer.status_code < 500
        # A problem names what was wrong; an unknown key of the client's is such a name.
        if answer.request.url.path != "/runs" or answer.request.method != "POST":
            assert token not in answer.text
        assert cookie not in answer.text
        assert cookie not in str(answer.headers)


# Headers


@pytest.mark.parametrize(
    ("path", "token"),
    [
        ("/runs", "read"), ("/runs", None), ("/runs/9", "read"), ("/nowhere", "admin"),
        ("/docs", "read"), ("/healthz", None), ("/static-offline-docs/swagger-ui.css", "read"),
        ("/metrics", "read"), ("/openapi.json", "read"), ("/runs?token=x", None), ("/app", None),
    ],
)  # fmt: skip
def test_every_answer_has_the_security_headers(
    shared: Guarded, path: str, token: str | None
) -> None:
    answer = shared.ask("GET", path, token)
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-request-id"]


def test_an_unforeseen_error_has_them_too_and_tells_nothing(
    guarded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = guarded()

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr("service.store.runs.get", broken)
    answer = service.ask("GET", "/runs/1", "read")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "/secret/path" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_keeps_its_own_policy(shared: Guarded) -> None:
    answer = shared.ask("GET", "/app")
    if answer.status_code == 404:
        pytest.skip("this installation has no page")
    assert answer.headers["content-security-policy"] == page.CONTENT_SECURITY_POLICY
