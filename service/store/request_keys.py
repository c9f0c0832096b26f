"""Requests that name themselves by an idempotency key: what came under a key is done once."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from service.errors import KeyReused
from service.store.insert_missing import insert_missing
from service.store.rows import RequestKeyRow

RETENTION = timedelta(hours=24)
DELETE_BATCH = 500


@dataclass(frozen=True)
class RequestKey:
    """What stands for a client's key, its own alone; and a digest of all that it asked under it."""

    key: str
    digest: str


def claim_key(session: Session, request_key: RequestKey) -> str | None:
    """What a request of that key was answered; None for its first, which is to call `answered`.

    Who asks at the same time waits here until the first one's transaction has ended. Raises
    KeyReused where the key came with another digest.
    """
    now = datetime.now(UTC)
    # A few at a time: after a busy day the first request would wait for all of them.
    expired = select(RequestKeyRow.key).where(RequestKeyRow.created_at < now - RETENTION)
    batch = expired.where(RequestKeyRow.key != request_key.key).limit(DELETE_BATCH)
    old = or_(
        RequestKeyRow.key.in_(batch),
        (RequestKeyRow.key == request_key.key) & (RequestKeyRow.created_at < now - RETENTION),
    )
    session.execute(delete(RequestKeyRow).where(old).execution_options(synchronize_session=False))
    insert_missing(session, RequestKeyRow, [{**vars(request_key), "created_at": now}])
    found = select(RequestKeyRow.digest, RequestKeyRow.answer).where(
        RequestKeyRow.key == request_key.key
    )
    digest, answer = session.execute(found).one()
    if digest != request_key.digest:
        raise KeyReused
    # A row without an answer is the one inserted above: others' are seen committed, with theirs.
    return str(answer) if answer is not None else None


def record_answer(session: Session, request_key: RequestKey, answer: str) -> None:
    """Keep the answer, in the transaction that did what was asked."""
    session.execute(
        update(RequestKeyRow).where(RequestKeyRow.key == request_key.key).values(answer=answer)
    )
