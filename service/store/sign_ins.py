"""Queries on sign-ins: browser sessions, by the hash of their cookie."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from service.store import tokens
from service.store.access_rows import SignInRow, TokenRow
from service.store.tokens import Token


@dataclass(frozen=True)
class SignIn:
    """A browser that is signed in, and the token that it signed in with."""

    digest: str  # SHA-256 of the cookie, hexadecimal
    created_at: datetime
    last_seen_at: datetime  # accurate to about ten minutes
    token: Token


def create(session: Session, digest: str, token: Token) -> SignIn:
    """Insert a sign-in."""
    created_at = datetime.now(UTC)
    session.add(
        SignInRow(digest=digest, token_id=token.id, created_at=created_at, last_seen_at=created_at)
    )
    return SignIn(digest, created_at, created_at, token)


def get_by_digest(session: Session, digest: str) -> SignIn | None:
    """The sign-in whose cookie has that hash, if there is one."""
    query = (
        select(SignInRow, TokenRow)
        .join(TokenRow, TokenRow.id == SignInRow.token_id)
        .where(SignInRow.digest == digest)
    )
    row = session.execute(query).one_or_none()
    if row is None:
        return None
    sign_in, token = row
    return SignIn(sign_in.digest, sign_in.created_at, sign_in.last_seen_at, tokens.from_row(token))


def record_use(session: Session, digest: str, used_at: datetime) -> None:
    """Store the time of the browser's last request."""
    session.execute(
        update(SignInRow).where(SignInRow.digest == digest).values(last_seen_at=used_at)
    )


def delete_sign_in(session: Session, digest: str) -> None:
    """Sign the browser out."""
    session.execute(delete(SignInRow).where(SignInRow.digest == digest))


def delete_by_token(session: Session, token_id: int) -> None:
    """Sign out all browsers that signed in with that token."""
    session.execute(delete(SignInRow).where(SignInRow.token_id == token_id))


def delete_expired(session: Session, seen_before: datetime, created_before: datetime) -> None:
    """Delete sign-ins last used before `seen_before` or created before `created_before`."""
    session.execute(
        delete(SignInRow).where(
            or_(SignInRow.last_seen_at < seen_before, SignInRow.created_at < created_before)
        )
    )
