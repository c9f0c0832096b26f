"""Sign-in of the page: a token is exchanged for a cookie, and changes require a CSRF token."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from service.flows import access
from service.flows.credentials import digest
from service.store.access_rows import SignInRow
from tests.access.conftest import INVALID_TOKENS, GuardedService


class Browser:
    """Requests of a signed-in browser."""

    def __init__(self, service: GuardedService, kind: str, **options: Any) -> None:
        self._service = service
        self.response = service.request(
            "POST", "/session", json={"token": service.tokens[kind]}, **options
        )
        assert self.response.status_code == 200, self.response.text
        self.secret = self.response.cookies["camreel_session"]
        self.csrf = self.response.json()["csrf_token"]

    def request(
        self, method: str, path: str, csrf: str | None = None, **options: Any
    ) -> httpx.Response:
        headers = {"cookie": f"a=b; camreel_session={self.secret}"} | options.pop("headers", {})
        if csrf is not None:
            headers["x-csrf-token"] = csrf
        return self._service.request(method, path, headers=headers, **options)


@pytest.fixture(scope="module")
def browser(guarded_service: GuardedService) -> Browser:
    return Browser(guarded_service, "run")


def test_sign_in_sets_an_http_only_cookie(browser: Browser) -> None:
    cookie = browser.response.headers["set-cookie"].lower()
    assert "; httponly" in cookie
    assert "; samesite=strict" in cookie
    assert "; path=/" in cookie
    assert "secure" not in cookie
    assert browser.response.headers["cache-control"] == "no-store"
    body = browser.response.json()
    assert (body["open"], body["name"], body["scope"]) == (False, "runer", "run")
    assert browser.secret not in browser.response.text


def test_over_https_the_cookie_is_secure_and_hsts_is_set(guarded_service: GuardedService) -> None:
    response = Browser(guarded_service, "read", base="https://127.0.0.1:8000").response
    assert "; secure" in response.headers["set-cookie"].lower()
    assert response.headers["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in guarded_service.request("GET", "/healthz").headers


def test_cookie_identifies_the_token_and_can_read(browser: Browser) -> None:
    response = browser.request("GET", "/session")
    assert response.json() == browser.response.json()
    assert browser.request("GET", "/runs").status_code == 200
    assert browser.request("GET", "/app").status_code in (200, 404)


@pytest.mark.parametrize("csrf_token", [None, "", "guess", "\xe9", "0" * 64])
def test_change_by_cookie_requires_the_csrf_token(
    guarded_service: GuardedService, browser: Browser, csrf_token: str | None
) -> None:
    headers = {} if csrf_token is None else {"x-csrf-token": csrf_token.encode("latin-1")}
    response = browser.request("POST", "/runs/9/cancel", headers=headers)
    assert (response.status_code, response.json()["type"]) == (403, "csrf-refused")
    assert browser.request("POST", "/runs/9/cancel", browser.csrf).status_code == 404


def test_csrf_token_of_another_session_is_refused(
    guarded_service: GuardedService, browser: Browser
) -> None:
    other_browser = Browser(guarded_service, "run")
    assert other_browser.csrf != browser.csrf
    assert browser.request("POST", "/runs/9/cancel", other_browser.csrf).status_code == 403


def test_foreign_origin_is_refused_even_with_the_csrf_token(browser: Browser) -> None:
    headers = {"origin": "http://evil.example"}
    response = browser.request("POST", "/runs/9/cancel", browser.csrf, headers=headers)
    assert (response.status_code, response.json()["type"]) == (403, "origin-refused")


def test_cookie_has_the_scope_of_its_token(browser: Browser) -> None:
    assert browser.request("DELETE", "/runs/9", browser.csrf).json()["type"] == "scope-missing"


def test_token_in_the_header_takes_precedence_over_a_cookie(
    guarded_service: GuardedService, browser: Browser
) -> None:
    admin = {"authorization": f"Bearer {guarded_service.tokens['admin']}"}
    assert browser.request("DELETE", "/runs/9", headers=admin).status_code == 404
    wrong = {"authorization": "Bearer wrong"}
    assert browser.request("GET", "/runs", headers=wrong).status_code == 401


@pytest.mark.parametrize("kind", INVALID_TOKENS)
def test_invalid_token_cannot_sign_in(new_guarded_service: Any, kind: str) -> None:
    service = new_guarded_service()
    response = service.request("POST", "/session", json={"token": service.tokens[kind]})
    assert (response.status_code, response.json()["type"]) == (401, "unauthenticated")
    assert "set-cookie" not in response.headers
    assert service.tokens[kind] not in response.text


@pytest.mark.parametrize(
    "body", [{}, {"token": ""}, {"token": 5}, {"token": "x" * 257}, {"token": "x", "as": "root"}]
)
def test_malformed_sign_in_is_422_without_its_token(new_guarded_service: Any, body: Any) -> None:
    response = new_guarded_service().request("POST", "/session", json=body)
    assert response.status_code == 422
    assert "x" * 257 not in response.text


def test_signing_out_ends_the_session_at_once(new_guarded_service: Any) -> None:
    service = new_guarded_service()
    browser = Browser(service, "admin")
    assert browser.request("DELETE", "/session").status_code == 403
    response = browser.request("DELETE", "/session", browser.csrf)
    assert response.status_code == 204
    assert 'camreel_session=""' in response.headers["set-cookie"]
    assert browser.request("GET", "/session").status_code == 401
    assert service.request("GET", "/session", "admin").json()["name"] == "adminer"


def set_session_age(service: GuardedService, secret: str, idle: timedelta, age: timedelta) -> None:
    """Sets when the session was created and last used."""
    current_time = datetime.now(UTC)
    values = {"last_seen_at": current_time - idle, "created_at": current_time - age}
    with service.store() as store, store.write_session() as session:
        row = update(SignInRow).where(SignInRow.digest == digest(secret))
        session.execute(row.values(values))
    service.clear_credential_cache()


def test_session_expires_after_12_idle_hours(new_guarded_service: Any) -> None:
    service = new_guarded_service()
    browser = Browser(service, "read")
    hour = timedelta(hours=1)
    set_session_age(service, browser.secret, idle=11 * hour, age=30 * hour)
    assert browser.request("GET", "/runs").status_code == 200
    service.clear_credential_cache()
    expires_at = datetime.fromisoformat(browser.request("GET", "/session").json()["expires_at"])
    assert expires_at - datetime.now(UTC) > 11.9 * hour
    set_session_age(service, browser.secret, idle=12.1 * hour, age=30 * hour)
    assert browser.request("GET", "/runs").status_code == 401


def test_session_expires_after_seven_days_of_use(new_guarded_service: Any) -> None:
    service = new_guarded_service()
    browser = Browser(service, "read")
    set_session_age(service, browser.secret, idle=timedelta(), age=timedelta(days=6.9))
    assert browser.request("GET", "/runs").status_code == 200
    set_session_age(service, browser.secret, idle=timedelta(), age=timedelta(days=7.01))
    assert browser.request("GET", "/runs").status_code == 401


def test_expired_sessions_are_deleted_at_the_next_sign_in(new_guarded_service: Any) -> None:
    service = new_guarded_service()
    browser = Browser(service, "read")
    set_session_age(
        service, browser.secret, idle=access.IDLE_TIMEOUT * 2, age=access.IDLE_TIMEOUT * 2
    )
    Browser(service, "read")
    with service.store() as store, store.read_session() as session:
        assert session.query(SignInRow).count() == 1
