"""Requests that name themselves by an idempotency key: what came under a key is done once."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from service.errors import KeyReused
from service.store.insert_missing import insert_missing
from service.store.tables import RequestKeyRow

KEPT = timedelta(hours=24)
REMOVED_AT_ONCE = 500


@dataclass(frozen=True)
class RequestKey:
    """What stands for a client's key, its own alone; and a digest of all that it asked under it."""

    key: str
    digest: str


def earlier_answer(session: Session, asked: RequestKey) -> str | None:
    """What a request of that key was answered; None for its first, which is to call `answered`.

    Who asks at the same time waits here until the first one's transaction has ended. Raises
    KeyReused where the key came with another digest.
    """
    now = datetime.now(UTC)
    # A few at a time: after a busy day the first request would wait for all of them.
    expired = select(RequestKeyRow.key).where(RequestKeyRow.created_at < now - KEPT)
    batch = expired.where(RequestKeyRow.key != asked.key).limit(REMOVED_AT_ONCE)
    old = or_(
        RequestKeyRow.key.in_(batch),
        (RequestKeyRow.key == asked.key) & (RequestKeyRow.created_at < now - KEPT),
    )
    session.execute(delete(RequestKeyRow).where(old).execution_options(synchronize_session=False))
    insert_missing(session, RequestKeyRow, [{**vars(asked), "created_at": now}])
    found = select(RequestKeyRow.digest, RequestKeyRow.answer).where(RequestKeyRow.key == asked.key)
    digest, answer = session.execute(found).one()
    if digest != asked.digest:
        raise KeyReused
    # A row without an answer is the one inserted above: others' are seen committed, with theirs.
    return str(answer) if answer is not None else None


def answered(session: Session, asked: RequestKey, answer: str) -> None:
    """Keep the answer, in the transaction that did what was asked."""
    session.execute(
        update(RequestKeyRow).where(RequestKeyRow.key == asked.key).values(answer=answer)
    )
