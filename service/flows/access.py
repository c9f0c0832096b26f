"""The story of who may in: tokens are given and taken back, browsers sign in and out."""

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from service.errors import InvalidValue, StoreFull, StoreUnavailable, Unauthenticated, UnknownName
from service.flows.credentials import (
    TOKEN,
    constant_time_equal,
    csrf_token,
    digest,
    new_session_secret,
    new_token,
)
from service.store import audit, sign_ins, tokens
from service.store.sign_ins import SignIn
from service.store.store import Store
from service.store.tokens import ADMIN, SCOPES, Token

IDLE_TIMEOUT = timedelta(hours=12)
MAX_SESSION_AGE = timedelta(days=7)
LAST_USE_RESOLUTION = timedelta(minutes=10)
MAX_DAYS = 3650

COMMAND = "camreel token create NAME --scope admin"


@dataclass(frozen=True)
class Principal:
    """Who asks, and what for they may."""

    name: str
    scope: str
    rate_limit_key: str  # whose requests are counted together
    expires_at: datetime | None = None
    csrf_token: str | None = None  # what a change by cookie must show; None: not by cookie

    def has_scope(self, scope: str) -> bool:
        """Whether the scope is within theirs."""
        return SCOPES.index(scope) <= SCOPES.index(self.scope)


LOCAL_USER = Principal("anyone", ADMIN, "anyone")
"""Whoever is on this machine, while no token was ever made."""


def create_token(
    store: Store, name: str, scope: str, expires_days: int | None, actor: str
) -> tuple[str, Token]:
    """A new token, which is shown this once, and what is kept of it.

    Raises InvalidValue for a name that is not plain or that a live token has already, and for days
    outside 1..3650; UnknownName for a scope.
    """
    if not re.fullmatch(r"[\w][\w .@-]{0,99}", name, flags=re.ASCII) or TOKEN.search(name):
        raise InvalidValue("name", "1 to 100 letters, digits, spaces and . _ @ -")
    if scope not in SCOPES:
        raise UnknownName("scope", scope, SCOPES)
    if expires_days is not None and not 1 <= expires_days <= MAX_DAYS:
        raise InvalidValue("expires_days", f"1 to {MAX_DAYS}")
    secret = new_token()
    now = datetime.now(UTC)
    expires_at = now + timedelta(days=expires_days) if expires_days else None
    with store.write_session() as session:
        if any(one.name == name and one.is_valid(now) for one in tokens.list_tokens(session)):
            raise InvalidValue("name", f"a live token is called {name} already")
        token = tokens.create(session, name, scope, digest(secret), expires_at)
        audit.record(session, actor, "token create", _audit_target(token), "done")
    return secret, token


def revoke_token(store: Store, token_id: int, actor: str) -> Token:
    """End a token, and every sign-in by it. Raises TokenNotFound."""
    with store.write_session() as session:
        token = tokens.revoke(session, token_id)
        sign_ins.delete_by_token(session, token_id)
        audit.record(session, actor, "token revoke", _audit_target(token), "done")
    return token


def bootstrap(store: Store, secret: str) -> None:
    """Make an administrator's token of a secret that the operator chose, once.

    Raises InvalidValue for one that is not of a token's form. A revoked one stays revoked.
    """
    if not TOKEN.fullmatch(secret):
        raise InvalidValue(
            "bootstrap_token_file", "it has to hold one line: camreel_ and 40 to 200 random letters"
        )
    with store.write_session() as session:
        if tokens.get_by_digest(session, digest(secret)) is None:
            token = tokens.create(session, "bootstrap", ADMIN, digest(secret), None)
            audit.record(session, "bootstrap file", "token create", _audit_target(token), "done")


def record_change(
    store: Store, *, actor: str, action: str, target: str, outcome: str, request_id: str
) -> None:
    """Write down a change that was asked for by HTTP."""
    with store.write_session() as session:
        audit.record(session, actor, action, target, outcome, request_id)


def require_token_beyond_loopback(store: Store, host: str) -> None:
    """Raises InvalidValue for an address beyond this machine while there is no live token."""
    if is_loopback(host):
        return
    with store.read_session() as session:
        if tokens.any_valid(session, datetime.now(UTC)):
            return
    raise InvalidValue(
        "host",
        f"{host} is reached from beyond this machine, and no live token guards it; run: {COMMAND}",
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address. A name other than localhost is none."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_unclaimed(store: Store) -> bool:
    """Whether no token is kept, live or expired: then whoever is on this machine may do all."""
    with store.read_session() as session:
        return not tokens.any_unrevoked(session)


def principal_of_token(store: Store, secret: str) -> Principal:
    """Whom a token stands for. Raises Unauthenticated."""
    hashed, now = digest(secret), datetime.now(UTC)
    with store.read_session() as session:
        token = tokens.get_by_digest(session, hashed)
    # The index found it by its hash; that it is the same is decided in constant time.
    if token is None or not constant_time_equal(token.digest, hashed) or not token.is_valid(now):
        raise Unauthenticated
    _record_use(store, token, now)
    return _principal(token, token.expires_at)


def principal_of_session(store: Store, secret: str) -> Principal:
    """Whom a cookie stands for: the one who signed in. Raises Unauthenticated."""
    hashed, now = digest(secret), datetime.now(UTC)
    with store.read_session() as session:
        record = sign_ins.get_by_digest(session, hashed)
    if record is None or not constant_time_equal(record.digest, hashed) or now >= _expiry(record):
        raise Unauthenticated
    if not record.token.is_valid(now):
        raise Unauthenticated
    if now - record.last_seen_at > LAST_USE_RESOLUTION:
        with suppress(StoreUnavailable, StoreFull), store.write_session() as session:
            sign_ins.record_use(session, hashed, now)
    _record_use(store, record.token, now)
    return _principal(record.token, _expiry(record), csrf_token(secret))


def sign_in(store: Store, token_secret: str) -> tuple[str, Principal]:
    """A cookie for whom the token stands for. Raises Unauthenticated."""
    principal_of_token(store, token_secret)
    secret, now = new_session_secret(), datetime.now(UTC)
    with store.write_session() as session:
        token = tokens.get_by_digest(session, digest(token_secret))
        if token is None or not token.is_valid(now):
            raise Unauthenticated
        sign_ins.delete_expired(session, now - IDLE_TIMEOUT, now - MAX_SESSION_AGE)
        record = sign_ins.create(session, digest(secret), token)
    return secret, _principal(token, _expiry(record), csrf_token(secret))


def sign_out(store: Store, secret: str) -> None:
    """End the sign-in of that cookie."""
    with store.write_session() as session:
        sign_ins.delete_sign_in(session, digest(secret))


def _audit_target(token: Token) -> str:
    return f"token {token.id} ({token.name}, {token.scope})"


def _principal(token: Token, expires_at: datetime | None, csrf: str | None = None) -> Principal:
    return Principal(token.name, token.scope, f"token {token.id}", expires_at, csrf)


def _expiry(record: SignIn) -> datetime:
    end = min(record.last_seen_at + IDLE_TIMEOUT, record.created_at + MAX_SESSION_AGE)
    return min(end, record.token.expires_at) if record.token.expires_at else end


def _record_use(store: Store, token: Token, now: datetime) -> None:
    """Coarsely, so that reading does not write; a store that is busy now is told next time."""
    if token.last_used_at is None or now - token.last_used_at > LAST_USE_RESOLUTION:
        with suppress(StoreUnavailable, StoreFull), store.write_session() as session:
            tokens.record_use(session, token.id, now)
