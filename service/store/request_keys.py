"""Idempotency keys: a request with the same key as an earlier one is not executed again."""

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
    """A client's idempotency key, unique among all clients, and a digest of its request."""

    key: str
    digest: str


def claim_key(session: Session, request_key: RequestKey) -> str | None:
    """The recorded answer of an earlier request with that key; None for the first one, which must
    call `record_answer` in the same transaction.

    A concurrent request with the key waits here until that transaction ends. Raises KeyReused if
    the earlier request had another digest.
    """
    created_at = datetime.now(UTC)
    # A limited number: after a busy day a single request would have to delete all of them.
    expired_keys = select(RequestKeyRow.key).where(
        RequestKeyRow.created_at < created_at - RETENTION
    )
    batch = expired_keys.where(RequestKeyRow.key != request_key.key).limit(DELETE_BATCH)
    is_expired = or_(
        RequestKeyRow.key.in_(batch),
        (RequestKeyRow.key == request_key.key)
        & (RequestKeyRow.created_at < created_at - RETENTION),
    )
    session.execute(
        delete(RequestKeyRow).where(is_expired).execution_options(synchronize_session=False)
    )
    insert_missing(session, RequestKeyRow, [{**vars(request_key), "created_at": created_at}])
    query = select(RequestKeyRow.digest, RequestKeyRow.answer).where(
        RequestKeyRow.key == request_key.key
    )
    digest, answer = session.execute(query).one()
    if digest != request_key.digest:
        raise KeyReused
    # Without an answer it is the row inserted above: other rows are committed with their answers.
    return str(answer) if answer is not None else None


def record_answer(session: Session, request_key: RequestKey, answer: str) -> None:
    """Store the answer in the transaction that executes the request."""
    session.execute(
        update(RequestKeyRow).where(RequestKeyRow.key == request_key.key).values(answer=answer)
    )
