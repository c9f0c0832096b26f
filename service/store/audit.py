"""The audit log: who changed what, and when. Entries are never changed."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.names import sanitize_line
from service.store.access_rows import AuditRow

ACTOR_CHARACTERS, ACTION_CHARACTERS, TARGET_CHARACTERS = 120, 120, 200


@dataclass(frozen=True)
class AuditEntry:
    """A change, or an attempt by an authenticated client that was refused."""

    id: int
    at: datetime
    actor: str  # a token's name, or the origin of the change
    action: str  # `DELETE /runs/{run_id}`, `token create`
    target: str  # `/runs/3`, `token 2 (alice)`
    outcome: str  # the HTTP status of the answer, or `done`
    request_id: str | None


def record(
    session: Session,
    actor: str,
    action: str,
    target: str,
    outcome: str,
    request_id: str | None = None,
) -> None:
    """Add an entry with the current time."""
    session.add(
        AuditRow(
            at=datetime.now(UTC),
            actor=sanitize_line(actor)[:ACTOR_CHARACTERS],
            action=action[:ACTION_CHARACTERS],
            # A requested path may contain any characters.
            target=sanitize_line(target)[:TARGET_CHARACTERS],
            outcome=outcome,
            request_id=request_id,
        )
    )


def list_newest(session: Session, *, limit: int, before_id: int | None = None) -> list[AuditEntry]:
    """Entries with an id below `before_id`, newest first, at most `limit`."""
    query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(AuditRow.id < before_id)
    return [
        AuditEntry(row.id, row.at, row.actor, row.action, row.target, row.outcome, row.request_id)
        for row in session.scalars(query)
    ]
