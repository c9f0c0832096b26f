"""Queries on sign-ins: a browser that showed a token, and what its cookie hashes to."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from service.store import tokens
from service.store.rows import SignInRow, TokenRow
from service.store.tokens import Token


@dataclass(frozen=True)
class SignIn:
    """A browser that is signed in, with the token that it showed."""

    digest: str  # SHA-256 of the cookie, hexadecimal
    created_at: datetime
    last_seen_at: datetime  # to about ten minutes
    token: Token


def create(session: Session, digest: str, token: Token) -> SignIn:
    """A new sign-in."""
    now = datetime.now(UTC)
    session.add(SignInRow(digest=digest, token_id=token.id, created_at=now, last_seen_at=now))
    return SignIn(digest, now, now, token)


def get_by_digest(session: Session, digest: str) -> SignIn | None:
    """The sign-in whose cookie has that hash."""
    query = (
        select(SignInRow, TokenRow)
        .join(TokenRow, TokenRow.id == SignInRow.token_id)
        .where(SignInRow.digest == digest)
    )
    found = session.execute(query).one_or_none()
    if found is None:
        return None
    row, token = found
    return SignIn(row.digest, row.created_at, row.last_seen_at, tokens.from_row(token))


def record_use(session: Session, digest: str, now: datetime) -> None:
    """The browser asked for something at that moment."""
    session.execute(update(SignInRow).where(SignInRow.digest == digest).values(last_seen_at=now))


def delete_sign_in(session: Session, digest: str) -> None:
    """Sign it out."""
    session.execute(delete(SignInRow).where(SignInRow.digest == digest))


def delete_by_token(session: Session, token_id: int) -> None:
    """Sign out all that showed that token."""
    session.execute(delete(SignInRow).where(SignInRow.token_id == token_id))


def delete_expired(session: Session, seen_before: datetime, created_before: datetime) -> None:
    """Forget those that idled, or lasted, too long."""
    session.execute(
        delete(SignInRow).where(
            or_(SignInRow.last_seen_at < seen_before, SignInRow.created_at < created_before)
        )
    )
