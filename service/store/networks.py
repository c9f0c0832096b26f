"""Queries on networks: programs by the SHA-256 of their canonical JSON."""

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from service.store.insert_missing import insert_missing
from service.store.program_rows import NetworkRow, RunNetworkRow

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
    if mark_used(session, network.id):
        return False
    created_at = datetime.now(UTC)
    row = {
        "id": network.id,
        "program": zlib.compress(network.program, 6),
        "default_layer": network.default_layer,
        "created_at": created_at,
        "used_at": created_at,
    }
    insert_missing(session, NetworkRow, [row])
    return True


def get(session: Session, network_id: str) -> StoredNetwork | None:
    """The network of that identity, if it is stored."""
    query = select(NetworkRow.program, NetworkRow.default_layer).where(NetworkRow.id == network_id)
    row = session.execute(query).one_or_none()
    if row is None:
        return None
    return StoredNetwork(network_id, zlib.decompress(row.program), row.default_layer)


def set_of_run(session: Session, run_id: int, network_id: str) -> None:
    """Record the network of a run whose epochs are manifests; it never changes."""
    insert_missing(session, RunNetworkRow, [{"run_id": run_id, "network_id": network_id}])


def get_id_of_run(session: Session, run_id: int) -> str | None:
    """The network of a run; None for a network of stages, and before epoch 0."""
    query = select(RunNetworkRow.network_id).where(RunNetworkRow.run_id == run_id)
    return session.scalar(query)


def get_default_layer_of_run(session: Session, run_id: int) -> str | None:
    """The default layer of a run's program; None if it has no layer, or if there is no program."""
    query = (
        select(NetworkRow.default_layer)
        .join(RunNetworkRow, RunNetworkRow.network_id == NetworkRow.id)
        .where(RunNetworkRow.run_id == run_id)
    )
    return session.scalar(query)


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
            NetworkRow.id.not_in(select(RunNetworkRow.network_id)),
        )
        .with_for_update(skip_locked=True)
    )
    ids = list(session.scalars(unused_ids))
    # Again, with the rows locked: a run may have been committed since the query began.
    used_ids = set(
        session.scalars(select(RunNetworkRow.network_id).where(RunNetworkRow.network_id.in_(ids)))
    )
    session.execute(
        delete(NetworkRow)
        .where(NetworkRow.id.in_(set(ids) - used_ids))
        .execution_options(synchronize_session=False)
    )
