"""The page's way in: a token is shown once, a cookie stands for it, changes show where they come
from."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from service.flows import access
from service.flows.credentials import digest
from service.store.rows import SignInRow
from tests.access.conftest import BAD, Guarded


class Browser:
    """What a browser that is signed in sends."""

    def __init__(self, service: Guarded, kind: str, **options: Any) -> None:
        self._service = service
        self.answer = service.ask(
            "POST", "/session", json={"token": service.tokens[kind]}, **options
        )
        assert self.answer.status_code == 200, self.answer.text
        self.secret = self.answer.cookies["camreel_session"]
        self.csrf = self.answer.json()["csrf_token"]

    def ask(
        self, method: str, path: str, csrf: str | None = None, **options: Any
    ) -> httpx.Response:
        headers = {"cookie": f"a=b; camreel_session={self.secret}"} | options.pop("headers", {})
        if csrf is not None:
            headers["x-csrf-token"] = csrf
        return self._service.ask(method, path, headers=headers, **options)


@pytest.fixture(scope="module")
def browser(shared: Guarded) -> Browser:
    return Browser(shared, "run")


def test_a_sign_in_gives_a_cookie_that_no_script_reads(browser: Browser) -> None:
    cookie = browser.answer.headers["set-cookie"].lower()
    assert "; httponly" in cookie
    assert "; samesite=strict" in cookie
    assert "; path=/" in cookie
    assert "secure" not in cookie
    assert browser.answer.headers["cache-control"] == "no-store"
    body = browser.answer.json()
    assert (body["open"], body["name"], body["scope"]) == (False, "runer", "run")
    assert browser.secret not in browser.answer.text


def test_over_https_the_cookie_is_secure_and_https_is_remembered(shared: Guarded) -> None:
    answer = Browser(shared, "read", base="https://127.0.0.1:8000").answer
    assert "; secure" in answer.headers["set-cookie"].lower()
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in shared.ask("GET", "/healthz").headers


def test_the_cookie_says_who_and_reads(browser: Browser) -> None:
    answer = browser.ask("GET", "/session")
    assert answer.json() == browser.answer.json()
    assert browser.ask("GET", "/runs").status_code == 200
    assert browser.ask("GET", "/app").status_code in (200, 404)


@pytest.mark.parametrize("shown", [None, "", "guess", "\xe9", "0" * 64])
def test_a_change_by_cookie_needs_its_own_csrf_token(
    shared: Guarded, browser: Browser, shown: str | None
) -> None:
    headers = {} if shown is None else {"x-csrf-token": shown.encode("latin-1")}
    answer = browser.ask("POST", "/runs/9/cancel", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (403, "csrf-refused")
    assert browser.ask("POST", "/runs/9/cancel", browser.csrf).status_code == 404


def test_anothers_csrf_token_is_refused(shared: Guarded, browser: Browser) -> None:
    other = Browser(shared, "run")
    assert other.csrf != browser.csrf
    assert browser.ask("POST", "/runs/9/cancel", other.csrf).status_code == 403


def test_a_foreign_origin_is_refused_even_with_the_csrf_token(browser: Browser) -> None:
    headers = {"origin": "http://evil.example"}
    answer = browser.ask("POST", "/runs/9/cancel", browser.csrf, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (403, "origin-refused")


def test_a_cookie_has_its_tokens_scope(browser: Browser) -> None:
    assert browser.ask("DELETE", "/runs/9", browser.csrf).json()["type"] == "scope-missing"


def test_a_token_in_the_header_needs_no_csrf_and_goes_before_a_cookie(
    shared: Guarded, browser: Browser
) -> None:
    admin = {"authorization": f"Bearer {shared.tokens['admin']}"}
    assert browser.ask("DELETE", "/runs/9", headers=admin).status_code == 404
    wrong = {"authorization": "Bearer wrong"}
    assert browser.ask("GET", "/runs", headers=wrong).status_code == 401


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_does_not_sign_in(guarded: Any, kind: str) -> None:
    service = guarded()
    answer = service.ask("POST", "/session", json={"token": service.tokens[kind]})
    assert (answer.status_code, answer.json()["type"]) == (401, "unauthenticated")
    assert "set-cookie" not in answer.headers
    assert service.tokens[kind] not in answer.text


@pytest.mark.parametrize(
    "body", [{}, {"token": ""}, {"token": 5}, {"token": "x" * 257}, {"token": "x", "as": "root"}]
)
def test_a_malformed_sign_in_is_422_and_nothing_is_sent_back(guarded: Any, body: Any) -> None:
    answer = guarded().ask("POST", "/session", json=body)
    assert answer.status_code == 422
    assert "x" * 257 not in answer.text


def test_signing_out_ends_it_at_once(guarded: Any) -> None:
    service = guarded()
    browser = Browser(service, "admin")
    assert browser.ask("DELETE", "/session").status_code == 403
    gone = browser.ask("DELETE", "/session", browser.csrf)
    assert gone.status_code == 204
    assert 'camreel_session=""' in gone.headers["set-cookie"]
    assert browser.ask("GET", "/session").status_code == 401
    assert service.ask("GET", "/session", "admin").json()["name"] == "adminer"


def aged(service: Guarded, secret: str, seen: timedelta, created: timedelta) -> None:
    """Have the sign-in be that old."""
    now = datetime.now(UTC)
    values = {"last_seen_at": now - seen, "created_at": now - created}
    with service.store() as store, store.write_session() as session:
        row = update(SignInRow).where(SignInRow.digest == digest(secret))
        session.execute(row.values(values))
    service.forget()


def test_a_sign_in_ends_after_12_idle_hours_and_slides_while_it_is_used(guarded: Any) -> None:
    service = guarded()
    browser = Browser(service, "read")
    hour = timedelta(hours=1)
    aged(service, browser.secret, seen=11 * hour, created=30 * hour)
    assert browser.ask("GET", "/runs").status_code == 200
    service.forget()
    ends = datetime.fromisoformat(browser.ask("GET", "/session").json()["expires_at"])
    assert ends - datetime.now(UTC) > 11.9 * hour
    aged(service, browser.secret, seen=12.1 * hour, created=30 * hour)
    assert browser.ask("GET", "/runs").status_code == 401


def test_a_sign_in_ends_after_seven_days_however_it_is_used(guarded: Any) -> None:
    service = guarded()
    browser = Browser(service, "read")
    aged(service, browser.secret, seen=timedelta(), created=timedelta(days=6.9))
    assert browser.ask("GET", "/runs").status_code == 200
    aged(service, browser.secret, seen=timedelta(), created=timedelta(days=7.01))
    assert browser.ask("GET", "/runs").status_code == 401


def test_ended_sign_ins_are_forgotten_at_the_next_one(guarded: Any) -> None:
    service = guarded()
    browser = Browser(service, "read")
    aged(service, browser.secret, seen=access.IDLE_TIMEOUT * 2, created=access.IDLE_TIMEOUT * 2)
    Browser(service, "read")
    with service.store() as store, store.read_session() as session:
        assert session.query(SignInRow).count() == 1
