"""Tokens: random, hashed at rest, compared in constant time; and when they are asked for."""

import hmac
import re
from typing import Any

import pytest

from service.errors import InvalidValue, TokenNotFound, UnknownName
from service.flows import access, credentials
from service.store import audit, tokens


def test_a_token_has_256_random_bits_and_a_prefix_to_be_found_by() -> None:
    made = {credentials.new_token() for _ in range(1000)}
    assert len(made) == 1000
    assert credentials.SECRET_BYTES * 8 >= 256
    assert all(re.fullmatch(r"camreel_[\w-]{43}", token) for token in made)


def test_the_database_has_hashes_and_no_secret(guarded: Any) -> None:
    service = guarded()
    signed = service.ask("POST", "/session", json={"token": service.tokens["run"]})
    cookie = signed.cookies["camreel_session"]
    assert service.ask("GET", "/runs", "read").status_code == 200
    written = b"".join(file.read_bytes() for file in service.settings.state_dir.iterdir())
    assert credentials.digest(cookie).encode() in written
    for secret in (*service.tokens.values(), cookie, signed.json()["csrf_token"]):
        if secret != "nonsense":
            assert secret.encode() not in written


def test_tokens_cookies_and_csrf_are_compared_in_constant_time(
    guarded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = guarded()
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def spy(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr("service.flows.credentials.hmac.compare_digest", spy)
    token = credentials.digest(service.tokens["read"]).encode()
    assert service.ask("GET", "/runs", "read").status_code == 200
    assert compared == [(token, token)]
    signed = service.ask("POST", "/session", json={"token": service.tokens["run"]})
    cookie = signed.cookies["camreel_session"]
    compared.clear()
    headers = {"cookie": f"camreel_session={cookie}", "x-csrf-token": "guess"}
    assert service.ask("POST", "/runs/1/cancel", headers=headers).status_code == 403
    hashed = credentials.digest(cookie).encode()
    assert compared == [(hashed, hashed), (b"guess", signed.json()["csrf_token"].encode())]


def test_a_revoked_token_is_refused_and_its_sign_ins_end(guarded: Any) -> None:
    service = guarded()
    signed = service.ask("POST", "/session", json={"token": service.tokens["run"]})
    cookie = {"cookie": f"camreel_session={signed.cookies['camreel_session']}"}
    assert service.ask("GET", "/runs", headers=cookie).status_code == 200
    with service.store() as store:
        with store.read_session() as session:
            matches = tokens.get_by_digest(session, credentials.digest(service.tokens["run"]))
        assert matches is not None
        assert matches.last_used_at is not None
        access.revoke_token(store, matches.id, "test")
        with pytest.raises(TokenNotFound):
            access.revoke_token(store, 99, "test")
    service.forget()
    assert service.ask("GET", "/runs", "run").status_code == 401
    assert service.ask("GET", "/runs", headers=cookie).status_code == 401
    assert service.ask("GET", "/runs", "read").status_code == 200


def test_what_was_looked_up_is_remembered_for_a_second_at_most() -> None:
    from service.flows import credential_cache

    assert credential_cache.CACHE_SECONDS <= 1


def test_an_unclaimed_service_on_loopback_is_open_until_its_first_token(guarded: Any) -> None:
    service = guarded(claimed=False)
    assert service.ask("GET", "/runs").status_code == 200
    assert service.ask("GET", "/session").json() == {
        "open": True, "name": "anyone", "scope": "admin", "expires_at": None, "csrf_token": None,
    }  # fmt: skip
    assert "ratelimit" not in service.ask("GET", "/runs").headers
    assert service.ask("GET", "/runs", headers={"host": "evil.example"}).status_code == 400
    with service.store() as store:
        secret, token = access.create_token(store, "first", "read", 1, "test")
        service.forget()
        assert service.ask("GET", "/runs").status_code == 401
        assert service.ask("GET", "/runs", secret).status_code == 200
        access.revoke_token(store, token.id, "test")
    service.forget()
    assert service.ask("GET", "/runs").status_code == 200


def test_an_expired_token_does_not_open_what_it_closed(guarded: Any) -> None:
    service = guarded(claimed=False)
    with service.store() as store, store.write_session() as session:
        when = access.datetime.now(access.UTC) - access.timedelta(days=1)
        tokens.create(session, "old", "admin", credentials.digest("x"), when)
    assert service.ask("GET", "/runs").status_code == 401


def test_tokens_can_be_required_where_there_is_none(guarded: Any) -> None:
    service = guarded(claimed=False, auth="required")
    assert service.ask("GET", "/runs").status_code == 401
    assert service.ask("GET", "/healthz").status_code == 200


def test_a_service_bound_beyond_loopback_is_never_open(guarded: Any) -> None:
    service = guarded(claimed=False, host="0.0.0.0")
    assert service.ask("GET", "/runs").status_code == 401


def test_a_service_that_is_reached_on_another_address_is_not_open(guarded: Any) -> None:
    """However it was started: the address that the connection came in by is what counts."""
    service = guarded(claimed=False, allowed_hosts="192.0.2.7")
    assert service.ask("GET", "/runs").status_code == 200
    assert service.ask("GET", "/runs", base="http://192.0.2.7:8000").status_code == 401


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_loopback_is(host: str) -> None:
    assert access.is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.0.2.1", "127.evil.example", "localhost.evil.example", ""]
)
def test_loopback_is_not(host: str) -> None:
    assert not access.is_loopback(host)


def test_another_bind_without_a_live_token_names_the_command(guarded: Any) -> None:
    service = guarded(claimed=False)
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


def test_tokens_names_and_bounds(guarded: Any) -> None:
    service = guarded(claimed=False)
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
            noted = [entry.action for entry in audit.list_newest(session, limit=9)]
    assert noted == ["token create", "token revoke", "token create"]


def test_a_bootstrap_token_is_made_once_and_stays_revoked(guarded: Any) -> None:
    service = guarded(claimed=False)
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
