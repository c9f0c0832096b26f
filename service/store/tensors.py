"""Tensors by the SHA-256 of their files: stored once, in parts, while an epoch refers to them.

A tensor without references is kept for RETENTION after its last use, so that a recorder can upload
the tensors of an epoch, over a slow link, before the epoch that refers to them.
"""

import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, Select, delete, func, insert, select, update
from sqlalchemy.orm import Session

from service.store.blobs import Blobs
from service.store.insert_missing import insert_missing
from service.store.program_rows import TensorReferenceRow, TensorRow, TensorUploadRow

PART_BYTES = 4 * 2**20
"""Size of all parts but the last: far below SQLite's limit of a blob, and lost at most when a
connection breaks. A multiple of the size of any element."""

RETENTION = timedelta(hours=24)
IDS_PER_QUERY = 500


@dataclass(frozen=True)
class StoredTensor:
    """A complete tensor file."""

    sha256: str
    dtype: str
    shape: Sequence[int]
    bytes: int
    folder: str
    parts: int
    not_finite: int  # elements that are NaN or infinite


@dataclass(frozen=True)
class TensorUpload:
    """A tensor file of which the first `received_bytes` are stored."""

    sha256: str
    bytes: int
    received_bytes: int
    folder: str
    parts: int


def new_folder(sha256: str) -> str:
    """A new folder for the blobs of a tensor file.

    Unique, so that the deletion of an earlier upload of the same file, which removes external blobs
    after its transaction, never removes those of a later one.
    """
    return f"tensors/{sha256}.{secrets.token_hex(4)}"


def part_keys(folder: str, parts: int) -> list[str]:
    """Blob keys of the parts of a tensor file."""
    return [f"{folder}/{part}" for part in range(parts)]


def get(session: Session, sha256: str) -> StoredTensor | None:
    """The tensor, if it is complete."""
    return get_many(session, [sha256]).get(sha256)


def get_many(session: Session, hashes: Collection[str]) -> dict[str, StoredTensor]:
    """Those of the tensors that are complete, by SHA-256."""
    tensors: dict[str, StoredTensor] = {}
    for batch in _batches(hashes):
        for row in session.execute(_tensors().where(TensorRow.sha256.in_(batch))):
            tensors[row.sha256] = StoredTensor(*row)
    return tensors


def lock_many(session: Session, hashes: Collection[str]) -> dict[str, StoredTensor]:
    """Like `get_many`; until the transaction ends, none of them is deleted."""
    for batch in _batches(hashes):
        session.execute(
            update(TensorRow)
            .where(TensorRow.sha256.in_(sorted(batch)))
            .values(used_at=datetime.now(UTC))
            .execution_options(synchronize_session=False)
        )
    return get_many(session, hashes)


def read_parts(
    session: Session, blobs: Blobs, tensor: StoredTensor | TensorUpload
) -> Iterator[bytes]:
    """The bytes of a tensor file. Raises KeyError where a part is missing."""
    for key in part_keys(tensor.folder, tensor.parts):
        yield blobs.get(session, key)


def get_upload(session: Session, sha256: str) -> TensorUpload | None:
    """The unfinished upload of a tensor, if there is one."""
    query = select(
        TensorUploadRow.sha256,
        TensorUploadRow.bytes,
        TensorUploadRow.received_bytes,
        TensorUploadRow.folder,
        TensorUploadRow.parts,
    ).where(TensorUploadRow.sha256 == sha256)
    row = session.execute(query).one_or_none()
    return TensorUpload(*row) if row else None


def start_upload(session: Session, sha256: str, size: int) -> None:
    """Begin an upload. No effect if there is one."""
    values = {"sha256": sha256, "bytes": size, "received_bytes": 0, "parts": 0}
    row = values | {"folder": new_folder(sha256), "updated_at": datetime.now(UTC)}
    insert_missing(session, TensorUploadRow, [row])


def append_part(session: Session, blobs: Blobs, upload: TensorUpload, data: bytes) -> bool:
    """Store the next part of an upload; False, and no change, if another request has stored it.

    Raises StoreFull.
    """
    statement = (
        update(TensorUploadRow)
        .where(
            TensorUploadRow.sha256 == upload.sha256,
            TensorUploadRow.folder == upload.folder,
            TensorUploadRow.received_bytes == upload.received_bytes,
        )
        .values(
            received_bytes=TensorUploadRow.received_bytes + len(data),
            parts=TensorUploadRow.parts + 1,
            updated_at=datetime.now(UTC),
        )
        .execution_options(synchronize_session=False)
    )
    if not cast("CursorResult[Any]", session.execute(statement)).rowcount:
        return False
    blobs.put(session, part_keys(upload.folder, upload.parts + 1)[-1], data)
    return True


def finish_upload(session: Session, tensor: StoredTensor) -> bool:
    """Replace an upload by the complete tensor; False if another request has done so."""
    statement = delete(TensorUploadRow).where(
        TensorUploadRow.sha256 == tensor.sha256, TensorUploadRow.folder == tensor.folder
    )
    if not cast("CursorResult[Any]", session.execute(statement)).rowcount:
        return False
    add(session, tensor)
    return True


def delete_upload(session: Session, blobs: Blobs, upload: TensorUpload) -> None:
    """Delete an upload and its bytes."""
    statement = delete(TensorUploadRow).where(
        TensorUploadRow.sha256 == upload.sha256, TensorUploadRow.folder == upload.folder
    )
    if cast("CursorResult[Any]", session.execute(statement)).rowcount:
        blobs.delete(session, part_keys(upload.folder, upload.parts))


def add(session: Session, tensor: StoredTensor) -> None:
    """Insert the row of a complete tensor whose parts are stored."""
    row = vars(tensor) | {"shape": list(tensor.shape), "used_at": datetime.now(UTC)}
    session.execute(insert(TensorRow).values(**row))


def add_missing(session: Session, tensor: StoredTensor) -> bool:
    """Insert the row of a tensor; False, and no change, if another transaction has done so."""
    row = vars(tensor) | {"shape": list(tensor.shape), "used_at": datetime.now(UTC)}
    insert_missing(session, TensorRow, [row])
    query = select(TensorRow.folder).where(TensorRow.sha256 == tensor.sha256)
    return session.scalar(query) == tensor.folder


def add_references(session: Session, run_id: int, epoch: int, hashes: Collection[str]) -> None:
    """Record the tensors of an epoch, which `lock_many` has locked."""
    rows = [{"run_id": run_id, "epoch": epoch, "sha256": sha256} for sha256 in sorted(set(hashes))]
    if rows:
        session.execute(insert(TensorReferenceRow), rows)


def list_references(session: Session, run_id: int, epoch: int) -> set[str]:
    """The tensors of an epoch."""
    query = select(TensorReferenceRow.sha256).where(
        TensorReferenceRow.run_id == run_id, TensorReferenceRow.epoch == epoch
    )
    return set(session.scalars(query))


def list_referring_epochs(session: Session, sha256: str) -> list[tuple[int, int]]:
    """(run id, epoch) of the epochs that use a tensor, in order."""
    query = select(TensorReferenceRow.run_id, TensorReferenceRow.epoch).where(
        TensorReferenceRow.sha256 == sha256
    )
    rows = session.execute(query.order_by(TensorReferenceRow.run_id, TensorReferenceRow.epoch))
    return [(row.run_id, row.epoch) for row in rows]


def list_hashes(session: Session) -> list[str]:
    """SHA-256 of all complete tensors, in order."""
    return list(session.scalars(select(TensorRow.sha256).order_by(TensorRow.sha256)))


def list_blob_keys(session: Session) -> Iterator[str]:
    """Keys of all blobs of tensors and unfinished uploads."""
    for table in (TensorRow, TensorUploadRow):
        for folder, parts in session.execute(select(table.folder, table.parts)):
            yield from part_keys(folder, parts)


def blob_bytes(session: Session) -> int:
    """Total bytes of tensors and unfinished uploads."""
    totals = (func.sum(TensorRow.bytes), func.sum(TensorUploadRow.received_bytes))
    return sum(int(session.scalar(select(total)) or 0) for total in totals)


def delete_unused(session: Session, blobs: Blobs, max_bytes: int) -> bool:
    """Delete tensors and uploads that were not used for RETENTION and that no epoch refers to.

    Up to `max_bytes` of them, at least one; False if there were none. Several processes may do so
    at once.
    """
    oldest = datetime.now(UTC) - RETENTION
    expired_uploads = select(
        TensorUploadRow.sha256, TensorUploadRow.bytes, TensorUploadRow.folder, TensorUploadRow.parts
    ).where(TensorUploadRow.updated_at < oldest)
    is_referenced = (
        select(TensorReferenceRow.sha256)
        .where(TensorReferenceRow.sha256 == TensorRow.sha256)
        .exists()
    )
    unused_tensors = select(
        TensorRow.sha256, TensorRow.bytes, TensorRow.folder, TensorRow.parts
    ).where(TensorRow.used_at < oldest, ~is_referenced)
    return _delete_rows(session, blobs, TensorUploadRow, expired_uploads, max_bytes) or (
        _delete_rows(session, blobs, TensorRow, unused_tensors, max_bytes)
    )


def _delete_rows(
    session: Session,
    blobs: Blobs,
    table: type[TensorRow] | type[TensorUploadRow],
    query: Select[*tuple[Any, ...]],
    max_bytes: int,
) -> bool:
    """Delete rows of (SHA-256, bytes, folder, parts), and their blobs; False if there are none."""
    locked_rows = session.execute(
        query.limit(IDS_PER_QUERY).with_for_update(skip_locked=True)
    ).all()
    # Again, with the rows locked: an epoch may have been committed since the query began.
    references = select(TensorReferenceRow.sha256).where(
        TensorReferenceRow.sha256.in_([row.sha256 for row in locked_rows])
    )
    referenced = set(session.scalars(references)) if table is TensorRow else set()
    keys_by_hash: dict[str, list[str]] = {}
    size = 0
    for sha256, tensor_bytes, folder, parts in locked_rows:
        if sha256 in referenced:
            continue
        if keys_by_hash and size + tensor_bytes > max_bytes:
            break
        keys_by_hash[sha256] = part_keys(folder, parts)
        size += tensor_bytes
    if not keys_by_hash:
        return False
    session.execute(
        delete(table)
        .where(table.sha256.in_(keys_by_hash))
        .execution_options(synchronize_session=False)
    )
    # With the commit: bytes without a row are found by the doctor, a row without bytes is damage.
    blobs.delete(session, [key for keys in keys_by_hash.values() for key in keys])
    return True


def _tensors() -> Select[*tuple[Any, ...]]:
    return select(
        TensorRow.sha256,
        TensorRow.dtype,
        TensorRow.shape,
        TensorRow.bytes,
        TensorRow.folder,
        TensorRow.parts,
        TensorRow.not_finite,
    )


def _batches(hashes: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(set(hashes))
    for start in range(0, len(ordered), IDS_PER_QUERY):
        yield ordered[start : start + IDS_PER_QUERY]
