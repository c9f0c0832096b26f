"""Queries on tokens: who may ask for what. Only a token's hash is ever here."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from service.errors import TokenNotFound
from service.store.rows import TokenRow

READ, RUN, ADMIN = SCOPES = ("read", "run", "admin")
"""What a token is good for; each takes in those before it."""


@dataclass(frozen=True)
class Token:
    """A token as it is known: all but itself."""

    id: int
    name: str
    scope: str
    digest: str  # SHA-256 of the token, hexadecimal
    created_at: datetime
    last_used_at: datetime | None  # to about ten minutes
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_valid(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def create(
    session: Session, name: str, scope: str, digest: str, expires_at: datetime | None
) -> Token:
    """A new token."""
    row = TokenRow(
        name=name, scope=scope, digest=digest, created_at=datetime.now(UTC), expires_at=expires_at
    )
    session.add(row)
    session.flush()
    return from_row(row)


def get_by_digest(session: Session, digest: str) -> Token | None:
    """The token with that hash, live or not."""
    row = session.scalar(select(TokenRow).where(TokenRow.digest == digest))
    return from_row(row) if row else None


def list_tokens(session: Session) -> list[Token]:
    """All tokens, oldest first."""
    return [from_row(row) for row in session.scalars(select(TokenRow).order_by(TokenRow.id))]


def any_valid(session: Session, now: datetime) -> bool:
    """Whether one is neither revoked nor expired."""
    return _any(
        session,
        TokenRow.revoked_at.is_(None),
        or_(TokenRow.expires_at.is_(None), TokenRow.expires_at > now),
    )


def any_unrevoked(session: Session) -> bool:
    """Whether one is not revoked: an expired token does not open what it closed."""
    return _any(session, TokenRow.revoked_at.is_(None))


def revoke(session: Session, token_id: int) -> Token:
    """The token, good for nothing from now on. Raises TokenNotFound."""
    row = session.get(TokenRow, token_id)
    if row is None:
        raise TokenNotFound(token_id)
    row.revoked_at = row.revoked_at or datetime.now(UTC)
    session.flush()
    return from_row(row)


def record_use(session: Session, token_id: int, now: datetime) -> None:
    """The token was used at that moment."""
    session.execute(update(TokenRow).where(TokenRow.id == token_id).values(last_used_at=now))


def from_row(row: TokenRow) -> Token:
    """The row as a value."""
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


def _any(session: Session, *conditions: ColumnElement[bool]) -> bool:
    return session.scalar(select(TokenRow.id).where(*conditions).limit(1)) is not None
