"""Queries on networks: programs by the SHA-256 of their canonical JSON."""

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from service.store.insert_missing import insert_missing
from service.store.recording_rows import NetworkRow, RecordingRow

RETENTION = timedelta(hours=24)
"""How long a network is stored that no run uses."""


@dataclass(frozen=True)
class StoredNetwork:
    """A network's identity, its program as canonical JSON, and its default layer."""

    id: str
    program: bytes
    default_layer: str | None


def add(session: Session, network: StoredNetwork) -> bool:
    """Store a network; False if it is stored already."""
    created_at = datetime.now(UTC)
    is_known = mark_used(session, network.id)
    row = {
        "id": network.id,
        "program": zlib.compress(network.program, 6),
        "default_layer": network.default_layer,
        "created_at": created_at,
        "used_at": created_at,
    }
    insert_missing(session, NetworkRow, [row])
    return not is_known


def get(session: Session, network_id: str) -> StoredNetwork | None:
    """The network of that identity, if it is stored."""
    query = select(NetworkRow.program, NetworkRow.default_layer).where(NetworkRow.id == network_id)
    row = session.execute(query).one_or_none()
    if row is None:
        return None
    return StoredNetwork(network_id, zlib.decompress(row.program), row.default_layer)


def mark_used(session: Session, network_id: str) -> bool:
    """Update the time of last use; False if there is no such network."""
    statement = (
        update(NetworkRow)
        .where(NetworkRow.id == network_id)
        .values(used_at=datetime.now(UTC))
        .returning(NetworkRow.id)
        .execution_options(synchronize_session=False)
    )
    return session.scalar(statement) is not None


def delete_unused(session: Session) -> None:
    """Delete networks that no run uses and that were not used for RETENTION."""
    unused_ids = (
        select(NetworkRow.id)
        .where(
            NetworkRow.used_at < datetime.now(UTC) - RETENTION,
            NetworkRow.id.not_in(select(RecordingRow.network_id)),
        )
        .with_for_update(skip_locked=True)
    )
    ids = list(session.scalars(unused_ids))
    # Again, with the rows locked: a run may have been committed since the query began.
    used_ids = set(
        session.scalars(select(RecordingRow.network_id).where(RecordingRow.network_id.in_(ids)))
    )
    session.execute(
        delete(NetworkRow)
        .where(NetworkRow.id.in_(set(ids) - used_ids))
        .execution_options(synchronize_session=False)
    )
