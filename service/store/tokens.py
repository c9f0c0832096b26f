"""Queries on access tokens. The store has only their hashes."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from service.errors import TokenNotFound
from service.store.access_rows import TokenRow

READ, RUN, ADMIN = SCOPES = ("read", "run", "admin")
"""Scopes; each includes those before it."""


@dataclass(frozen=True)
class Token:
    """An access token, without its secret."""

    id: int
    name: str
    scope: str
    digest: str  # SHA-256 of the token, hexadecimal
    created_at: datetime
    last_used_at: datetime | None  # accurate to about ten minutes
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_valid(self, moment: datetime) -> bool:
        """Whether the token is neither revoked nor expired at that time."""
        return self.revoked_at is None and (self.expires_at is None or moment < self.expires_at)


def create(
    session: Session, name: str, scope: str, digest: str, expires_at: datetime | None
) -> Token:
    """Insert a token."""
    row = TokenRow(
        name=name, scope=scope, digest=digest, created_at=datetime.now(UTC), expires_at=expires_at
    )
    session.add(row)
    session.flush()
    return from_row(row)


def get_by_digest(session: Session, digest: str) -> Token | None:
    """The token with that hash, valid or not."""
    row = session.scalar(select(TokenRow).where(TokenRow.digest == digest))
    return from_row(row) if row else None


def list_tokens(session: Session) -> list[Token]:
    """All tokens, oldest first."""
    return [from_row(row) for row in session.scalars(select(TokenRow).order_by(TokenRow.id))]


def any_valid(session: Session, moment: datetime) -> bool:
    """Whether any token is neither revoked nor expired at that time."""
    return _exists(
        session,
        TokenRow.revoked_at.is_(None),
        or_(TokenRow.expires_at.is_(None), TokenRow.expires_at > moment),
    )


def any_unrevoked(session: Session) -> bool:
    """Whether any token is not revoked, expired ones included."""
    return _exists(session, TokenRow.revoked_at.is_(None))


def revoke(session: Session, token_id: int) -> Token:
    """Revoke a token. Raises TokenNotFound."""
    row = session.get(TokenRow, token_id)
    if row is None:
        raise TokenNotFound(token_id)
    row.revoked_at = row.revoked_at or datetime.now(UTC)
    session.flush()
    return from_row(row)


def record_use(session: Session, token_id: int, used_at: datetime) -> None:
    """Store the time of the token's last use."""
    session.execute(update(TokenRow).where(TokenRow.id == token_id).values(last_used_at=used_at))


def from_row(row: TokenRow) -> Token:
    """The token of a row."""
    return Token(
        row.id,
        row.name,
        row.scope,
        row.digest,
        row.created_at,
        row.last_used_at,
        row.expires_at,
        row.revoked_at,
    )


def _exists(session: Session, *conditions: ColumnElement[bool]) -> bool:
    return session.scalar(select(TokenRow.id).where(*conditions).limit(1)) is not None
