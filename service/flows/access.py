"""Access: creating and revoking tokens, signing in and out, and who a credential belongs to."""

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from service.errors import InvalidValue, Unauthenticated, UnknownName
from service.flows.credentials import (
    TOKEN,
    constant_time_equal,
    digest,
    new_sign_in_secret,
    new_token,
    sign_in_proof,
)
from service.store import audit, sign_ins, tokens
from service.store.sign_ins import SignIn
from service.store.store import Store
from service.store.tokens import ADMIN, SCOPES, Token
from service.store_errors import StoreFull, StoreUnavailable

IDLE_TIMEOUT = timedelta(hours=12)
MAX_SIGN_IN_AGE = timedelta(days=7)
LAST_USE_RESOLUTION = timedelta(minutes=10)
MAX_DAYS = 3650
LOOPBACK_CACHE_SIZE = 64

COMMAND_FOR_TOKEN = "camreel token create NAME --scope admin"  # noqa: S105  a command


@dataclass(frozen=True)
class Principal:
    """The owner of a credential, with its scope."""

    name: str
    scope: str
    rate_limit_key: str  # requests with the same key share a rate limit
    expires_at: datetime | None = None
    sign_in_proof: str | None = None  # see credentials.py; None for a token

    def has_scope(self, scope: str) -> bool:
        """Whether the principal's scope includes `scope`."""
        return SCOPES.index(scope) <= SCOPES.index(self.scope)


LOCAL_USER = Principal("anyone", ADMIN, "anyone")
"""Every user of this machine, while the database has no token."""


def create_token(
    store: Store, name: str, scope: str, expires_days: int | None, actor: str
) -> tuple[str, Token]:
    """A new token's secret, which cannot be read again, and its row.

    Raises InvalidValue for a name that is malformed or used by a valid token, and for
    `expires_days` outside 1..3650; UnknownName for an unknown scope.
    """
    if not re.fullmatch(r"[\w][\w .@-]{0,99}", name, flags=re.ASCII) or TOKEN.search(name):
        raise InvalidValue("name", "1 to 100 letters, digits, spaces and . _ @ -")
    if scope not in SCOPES:
        raise UnknownName("scope", scope, SCOPES)
    if expires_days is not None and not 1 <= expires_days <= MAX_DAYS:
        raise InvalidValue("expires_days", f"1 to {MAX_DAYS}")
    secret = new_token()
    current_time = datetime.now(UTC)
    expires_at = current_time + timedelta(days=expires_days) if expires_days else None
    with store.write_session() as session:
        if any(
            token.name == name and token.is_valid(current_time)
            for token in tokens.list_tokens(session)
        ):
            raise InvalidValue("name", f"a valid token is called {name} already")
        token = tokens.create(session, name, scope, digest(secret), expires_at)
        audit.record(session, actor, "token create", _audit_target(token), "done")
    return secret, token


def revoke_token(store: Store, token_id: int, actor: str) -> Token:
    """Revoke a token, and end all sign-ins with it. Raises TokenNotFound."""
    with store.write_session() as session:
        token = tokens.revoke(session, token_id)
        sign_ins.delete_by_token(session, token_id)
        audit.record(session, actor, "token revoke", _audit_target(token), "done")
    return token


def bootstrap(store: Store, secret: str) -> None:
    """Create an admin token from the operator's secret, unless it exists or has been revoked.

    Raises InvalidValue for a secret that does not have the form of a token.
    """
    if not TOKEN.fullmatch(secret):
        raise InvalidValue(
            "bootstrap_token_file", "it must hold one line: camreel_ and 40 to 200 random letters"
        )
    with store.write_session() as session:
        if tokens.get_by_digest(session, digest(secret)) is None:
            token = tokens.create(session, "bootstrap", ADMIN, digest(secret), None)
            audit.record(session, "bootstrap file", "token create", _audit_target(token), "done")


def record_change(
    store: Store, *, actor: str, action: str, target: str, outcome: str, request_id: str
) -> None:
    """Add an entry to the audit log."""
    with store.write_session() as session:
        audit.record(session, actor, action, target, outcome, request_id)


def require_token_beyond_loopback(store: Store, host: str) -> None:
    """Raises InvalidValue for an address that other machines can reach, if no token is valid."""
    if is_loopback(host):
        return
    with store.read_session() as session:
        if tokens.any_valid(session, datetime.now(UTC)):
            return
    raise InvalidValue(
        "host",
        f"other machines can reach {host}, and no token is valid; run: {COMMAND_FOR_TOKEN}",
    )


@lru_cache(LOOPBACK_CACHE_SIZE)
def is_loopback(address: str) -> bool:
    """Whether only this machine can reach the address. False for names other than localhost."""
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return address == "localhost"


def has_no_tokens(store: Store) -> bool:
    """Whether there is no token, not even an expired one: local users then have full access."""
    with store.read_session() as session:
        return not tokens.any_unrevoked(session)


def principal_of_token(store: Store, secret: str) -> Principal:
    """The owner of a token. Raises Unauthenticated."""
    hashed, current_time = digest(secret), datetime.now(UTC)
    with store.read_session() as session:
        token = tokens.get_by_digest(session, hashed)
    # The index lookup does not compare in constant time; this comparison does.
    if (
        token is None
        or not constant_time_equal(token.digest, hashed)
        or not token.is_valid(current_time)
    ):
        raise Unauthenticated
    _record_use(store, token, current_time)
    return _principal(token, token.expires_at)


def principal_of_sign_in(store: Store, secret: str) -> Principal:
    """The owner of a sign-in secret. Raises Unauthenticated."""
    hashed, current_time = digest(secret), datetime.now(UTC)
    with store.read_session() as session:
        record = sign_ins.get_by_digest(session, hashed)
    if (
        record is None
        or not constant_time_equal(record.digest, hashed)
        or current_time >= _expiry(record)
    ):
        raise Unauthenticated
    if not record.token.is_valid(current_time):
        raise Unauthenticated
    if current_time - record.last_seen_at > LAST_USE_RESOLUTION:
        with suppress(StoreUnavailable, StoreFull), store.write_session() as session:
            sign_ins.record_use(session, hashed, current_time)
    _record_use(store, record.token, current_time)
    return _principal(record.token, _expiry(record), sign_in_proof(secret))


def sign_in(store: Store, token_secret: str) -> tuple[str, Principal]:
    """A new sign-in secret for a token's owner, with its principal. Raises Unauthenticated."""
    principal_of_token(store, token_secret)
    secret, current_time = new_sign_in_secret(), datetime.now(UTC)
    with store.write_session() as session:
        token = tokens.get_by_digest(session, digest(token_secret))
        if token is None or not token.is_valid(current_time):
            raise Unauthenticated
        sign_ins.delete_expired(
            session, current_time - IDLE_TIMEOUT, current_time - MAX_SIGN_IN_AGE
        )
        record = sign_ins.create(session, digest(secret), token)
    return secret, _principal(token, _expiry(record), sign_in_proof(secret))


def sign_out(store: Store, secret: str) -> None:
    """End the sign-in with this secret."""
    with store.write_session() as session:
        sign_ins.delete_sign_in(session, digest(secret))


def _audit_target(token: Token) -> str:
    return f"token {token.id} ({token.name}, {token.scope})"


def _principal(
    token: Token, expires_at: datetime | None, sign_in_proof: str | None = None
) -> Principal:
    return Principal(token.name, token.scope, f"token {token.id}", expires_at, sign_in_proof)


def _expiry(record: SignIn) -> datetime:
    expires_at = min(record.last_seen_at + IDLE_TIMEOUT, record.created_at + MAX_SIGN_IN_AGE)
    return min(expires_at, record.token.expires_at) if record.token.expires_at else expires_at


def _record_use(store: Store, token: Token, current_time: datetime) -> None:
    """At most every LAST_USE_RESOLUTION, and only if the store is available."""
    if token.last_used_at is None or current_time - token.last_used_at > LAST_USE_RESOLUTION:
        with suppress(StoreUnavailable, StoreFull), store.write_session() as session:
            tokens.record_use(session, token.id, current_time)
