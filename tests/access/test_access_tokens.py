"""Tokens: random, hashed at rest, compared in constant time; and when they are required."""

import hmac
import re
from typing import Any

import pytest

from service.errors import InvalidValue, TokenNotFound, UnknownName
from service.flows import access, credentials
from service.store import audit, tokens


def test_token_has_256_random_bits_and_a_prefix() -> None:
    new_tokens = {credentials.new_token() for _ in range(1000)}
    assert len(new_tokens) == 1000
    assert credentials.SECRET_BYTES * 8 >= 256
    assert all(re.fullmatch(r"camreel_[\w-]{43}", token) for token in new_tokens)


def test_database_contains_hashes_and_no_secrets(new_guarded_service: Any) -> None:
    service = new_guarded_service()
    sign_in = service.request("POST", "/session", json={"token": service.tokens["run"]})
    cookie = sign_in.cookies["camreel_session"]
    assert service.request("GET", "/runs", "read").status_code == 200
    database_bytes = b"".join(file.read_bytes() for file in service.settings.state_dir.iterdir())
    assert credentials.digest(cookie).encode() in database_bytes
    for secret in (*service.tokens.values(), cookie, sign_in.json()["csrf_token"]):
        if secret != "nonsense":
            assert secret.encode() not in database_bytes


def test_tokens_cookies_and_csrf_are_compared_in_constant_time(
    new_guarded_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = new_guarded_service()
    comparisons: list[tuple[bytes, bytes]] = []
    compare_digest = hmac.compare_digest

    def record_comparison(first: bytes, second: bytes) -> bool:
        comparisons.append((first, second))
        return compare_digest(first, second)

    monkeypatch.setattr("service.flows.credentials.hmac.compare_digest", record_comparison)
    token = credentials.digest(service.tokens["read"]).encode()
    assert service.request("GET", "/runs", "read").status_code == 200
    assert comparisons == [(token, token)]
    sign_in = service.request("POST", "/session", json={"token": service.tokens["run"]})
    cookie = sign_in.cookies["camreel_session"]
    comparisons.clear()
    headers = {"cookie": f"camreel_session={cookie}", "x-csrf-token": "guess"}
    assert service.request("POST", "/runs/1/cancel", headers=headers).status_code == 403
    cookie_digest = credentials.digest(cookie).encode()
    assert comparisons == [
        (cookie_digest, cookie_digest),
        (b"guess", sign_in.json()["csrf_token"].encode()),
    ]


def test_revoked_token_is_refused_and_its_sessions_end(new_guarded_service: Any) -> None:
    service = new_guarded_service()
    sign_in = service.request("POST", "/session", json={"token": service.tokens["run"]})
    cookie = {"cookie": f"camreel_session={sign_in.cookies['camreel_session']}"}
    assert service.request("GET", "/runs", headers=cookie).status_code == 200
    with service.store() as store:
        with store.read_session() as session:
            token = tokens.get_by_digest(session, credentials.digest(service.tokens["run"]))
        assert token is not None
        assert token.last_used_at is not None
        access.revoke_token(store, token.id, "test")
        with pytest.raises(TokenNotFound):
            access.revoke_token(store, 99, "test")
    service.clear_credential_cache()
    assert service.request("GET", "/runs", "run").status_code == 401
    assert service.request("GET", "/runs", headers=cookie).status_code == 401
    assert service.request("GET", "/runs", "read").status_code == 200


def test_credentials_are_cached_for_at_most_a_second() -> None:
    from service.flows import credential_cache

    assert credential_cache.CACHE_SECONDS <= 1


def test_service_on_loopback_is_open_until_its_first_token(new_guarded_service: Any) -> None:
    service = new_guarded_service(has_tokens=False)
    assert service.request("GET", "/runs").status_code == 200
    assert service.request("GET", "/session").json() == {
        "open": True, "name": "anyone", "scope": "admin", "expires_at": None, "csrf_token": None,
    }  # fmt: skip
    assert "ratelimit" not in service.request("GET", "/runs").headers
    assert service.request("GET", "/runs", headers={"host": "evil.example"}).status_code == 400
    with service.store() as store:
        secret, token = access.create_token(store, "first", "read", 1, "test")
        service.clear_credential_cache()
        assert service.request("GET", "/runs").status_code == 401
        assert service.request("GET", "/runs", secret).status_code == 200
        access.revoke_token(store, token.id, "test")
    service.clear_credential_cache()
    assert service.request("GET", "/runs").status_code == 200


def test_expired_token_does_not_open_the_service(new_guarded_service: Any) -> None:
    service = new_guarded_service(has_tokens=False)
    with service.store() as store, store.write_session() as session:
        expires_at = access.datetime.now(access.UTC) - access.timedelta(days=1)
        tokens.create(session, "old", "admin", credentials.digest("x"), expires_at)
    assert service.request("GET", "/runs").status_code == 401


def test_tokens_can_be_required_before_the_first_one(new_guarded_service: Any) -> None:
    service = new_guarded_service(has_tokens=False, auth="required")
    assert service.request("GET", "/runs").status_code == 401
    assert service.request("GET", "/healthz").status_code == 200


def test_service_bound_beyond_loopback_is_never_open(new_guarded_service: Any) -> None:
    service = new_guarded_service(has_tokens=False, host="0.0.0.0")
    assert service.request("GET", "/runs").status_code == 401


def test_service_reached_on_another_address_is_not_open(new_guarded_service: Any) -> None:
    """The address of the connection decides, not the configured one."""
    service = new_guarded_service(has_tokens=False, allowed_hosts="192.0.2.7")
    assert service.request("GET", "/runs").status_code == 200
    assert service.request("GET", "/runs", base="http://192.0.2.7:8000").status_code == 401


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_loopback_hosts(host: str) -> None:
    assert access.is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.0.2.1", "127.evil.example", "localhost.evil.example", ""]
)
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not access.is_loopback(host)


def test_bind_beyond_loopback_without_a_valid_token_is_refused_with_the_command(
    new_guarded_service: Any,
) -> None:
    service = new_guarded_service(has_tokens=False)
    with service.store() as store:
        access.require_token_beyond_loopback(store, "127.0.0.1")
        for host in ("0.0.0.0", "::", "192.0.2.1"):
            with pytest.raises(InvalidValue, match="run: camreel token create NAME --scope admin"):
                access.require_token_beyond_loopback(store, host)
        _, token = access.create_token(store, "first", "read", None, "test")
        access.require_token_beyond_loopback(store, "0.0.0.0")
        access.revoke_token(store, token.id, "test")
        with pytest.raises(InvalidValue):
            access.require_token_beyond_loopback(store, "0.0.0.0")


def test_token_names_scopes_and_lifetimes_are_validated(new_guarded_service: Any) -> None:
    service = new_guarded_service(has_tokens=False)
    with service.store() as store:
        for name in ("", " x", "a\nb", "x" * 101, "<b>", credentials.new_token()):
            with pytest.raises(InvalidValue, match="name"):
                access.create_token(store, name, "read", None, "test")
        for days in (0, -1, 3651):
            with pytest.raises(InvalidValue, match="1 to 3650"):
                access.create_token(store, "x", "read", days, "test")
        with pytest.raises(UnknownName, match="read, run, admin"):
            access.create_token(store, "x", "root", None, "test")
        _, token = access.create_token(store, "alice", "read", 1, "test")
        with pytest.raises(InvalidValue, match="called alice already"):
            access.create_token(store, "alice", "run", None, "test")
        access.revoke_token(store, token.id, "test")
        access.create_token(store, "alice", "run", None, "test")
        with store.read_session() as session:
            actions = [entry.action for entry in audit.list_newest(session, limit=9)]
    assert actions == ["token create", "token revoke", "token create"]


def test_bootstrap_token_is_created_once_and_stays_revoked(new_guarded_service: Any) -> None:
    service = new_guarded_service(has_tokens=False)
    secret = credentials.new_token()
    with service.store() as store:
        for weak in ("", "secret", "camreel_short", secret + "\n" + secret):
            with pytest.raises(InvalidValue, match="bootstrap_token_file"):
                access.bootstrap(store, weak)
        for _ in range(2):
            access.bootstrap(store, secret)
        assert access.principal_of_token(store, secret).scope == "admin"
        with store.read_session() as session:
            (token,) = tokens.list_tokens(session)
        access.revoke_token(store, token.id, "test")
        access.bootstrap(store, secret)
        with pytest.raises(InvalidValue):
            access.require_token_beyond_loopback(store, "0.0.0.0")
