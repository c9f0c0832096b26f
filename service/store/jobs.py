"""Queries on jobs. A job ends once: changes of a finished job have no effect."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import CursorResult, delete, func, select, update
from sqlalchemy.orm import Session

from service.errors import JobNotFound
from service.store.blobs import Blobs
from service.store.insert_missing import insert_missing
from service.store.rows import JobRow


class JobStatus(StrEnum):
    """Status of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNFINISHED_STATUSES = (JobStatus.QUEUED, JobStatus.RUNNING)


@dataclass(frozen=True)
class JobError:
    """Why a job failed: `type` is an identifier, `detail` a sentence."""

    type: str
    detail: str


@dataclass(frozen=True)
class JobResult:
    """Result of a job: the body, media type and headers of an HTTP response."""

    content: bytes
    media_type: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Job:
    """A job at the time of the query."""

    id: int
    type: str
    owner: str
    request: str
    status: JobStatus
    progress: float | None
    error: JobError | None
    server: str
    heartbeats: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result_media_type: str | None
    result_bytes: int | None

    @property
    def is_unfinished(self) -> bool:
        """Whether it is queued or running."""
        return self.status in UNFINISHED_STATUSES


@dataclass(frozen=True)
class NewJob:
    """A job to be created."""

    type: str
    identity: str  # hash of owner and request: 64 characters
    owner: str
    request: str
    server: str


def create(session: Session, new_job: NewJob) -> tuple[Job, bool]:
    """A new queued job and True, or the unfinished job of the same identity and False."""
    row = {
        "type": new_job.type,
        "owner": new_job.owner,
        "request": new_job.request,
        "active_identity": new_job.identity,
        "status": JobStatus.QUEUED,
        "server": new_job.server,
        "heartbeats": 0,
        "created_at": datetime.now(UTC),
    }
    query = select(JobRow).where(JobRow.active_identity == new_job.identity)
    existing = session.scalar(query)
    if existing is not None:
        return _value(existing), False
    # Another server may insert the same job concurrently: the unique constraint admits one.
    max_id = session.scalar(select(func.max(JobRow.id))) or 0
    insert_missing(session, JobRow, [row])
    inserted = session.scalars(query).one()
    return _value(inserted), inserted.id > max_id and inserted.server == new_job.server


def get(session: Session, job_id: int) -> Job:
    """The job. Raises JobNotFound."""
    return _value(_row(session, job_id))


def get_many(session: Session, job_ids: Collection[int]) -> list[Job]:
    """Those of the jobs that exist, in any order."""
    return [_value(row) for row in session.scalars(select(JobRow).where(JobRow.id.in_(job_ids)))]


def exists(session: Session, job_id: int) -> bool:
    """Whether the job exists."""
    return session.get(JobRow, job_id, populate_existing=True) is not None


def list_newest(
    session: Session, *, limit: int, before_id: int | None = None, status: str | None = None
) -> list[Job]:
    """Jobs with an id below `before_id`, newest first."""
    query = select(JobRow).order_by(JobRow.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(JobRow.id < before_id)
    if status is not None:
        query = query.where(JobRow.status == status)
    return [_value(row) for row in session.scalars(query)]


def list_unfinished(session: Session) -> list[Job]:
    """All queued and running jobs, of all servers."""
    query = select(JobRow).where(JobRow.status.in_(UNFINISHED_STATUSES)).order_by(JobRow.id)
    return [_value(row) for row in session.scalars(query)]


def count_by_status(session: Session) -> dict[str, int]:
    """Number of jobs by status, 0 included."""
    query = select(JobRow.status, func.count()).group_by(JobRow.status)
    counts = {row[0]: int(row[1]) for row in session.execute(query)}
    return {status.value: counts.get(status, 0) for status in JobStatus}


def start(session: Session, job_id: int) -> bool:
    """Change a queued job to running; False if it is not queued."""
    return _change(
        session,
        job_id,
        (JobStatus.QUEUED,),
        {"status": JobStatus.RUNNING, "started_at": datetime.now(UTC)},
    )


def update_heartbeat(session: Session, job_id: int, progress: float | None) -> None:
    """Record that an unfinished job is alive, and its progress in 0..1."""
    changes = {"heartbeats": JobRow.heartbeats + 1, "progress": progress}
    _change(session, job_id, UNFINISHED_STATUSES, changes)


def succeed(session: Session, blobs: Blobs, job_id: int, result: JobResult) -> bool:
    """Store the result of a running job; False if it is not running. Raises StoreFull."""
    row = session.get(JobRow, job_id, with_for_update=True, populate_existing=True)
    if row is None or row.status != JobStatus.RUNNING:
        return False
    key = f"jobs/{job_id}/result"
    blobs.put(session, key, result.content)
    values = {
        "result_media_type": result.media_type,
        "result_headers": dict(result.headers),
        "sha256": hashlib.sha256(result.content).hexdigest(),
        "bytes": len(result.content),
        "blob_key": key,
        "progress": 1.0,
    }
    return _end(session, job_id, JobStatus.SUCCEEDED, values)


def fail(session: Session, job_id: int, error: JobError) -> bool:
    """End an unfinished job with an error; False if it has ended."""
    values = {"error_type": error.type, "error_detail": error.detail}
    return _end(session, job_id, JobStatus.FAILED, values)


def cancel(session: Session, job_id: int) -> bool:
    """Cancel an unfinished job; False if it has ended."""
    return _end(session, job_id, JobStatus.CANCELLED, {})


def get_result(session: Session, blobs: Blobs, job_id: int) -> JobResult | None:
    """Result of a job; None if it has none, or if its bytes are missing or damaged.

    Raises JobNotFound.
    """
    row = _row(session, job_id)
    if row.blob_key is None:
        return None
    try:
        content = blobs.get(session, row.blob_key)
    except KeyError:
        return None
    if hashlib.sha256(content).hexdigest() != row.sha256:
        return None
    return JobResult(content, row.result_media_type or "", row.result_headers or {})


def list_finished_ids(
    session: Session, *, finished_before: datetime | None = None, limit: int
) -> list[int]:
    """Ids of jobs that ended before `finished_before`, in the order in which they ended."""
    query = select(JobRow.id).where(JobRow.status.not_in(UNFINISHED_STATUSES))
    if finished_before is not None:
        query = query.where(JobRow.finished_at < finished_before)
    return list(session.scalars(query.order_by(JobRow.finished_at, JobRow.id).limit(limit)))


def count(session: Session) -> int:
    """Number of jobs."""
    return session.scalar(select(func.count()).select_from(JobRow)) or 0


def delete_jobs(session: Session, blobs: Blobs, job_ids: Sequence[int]) -> None:
    """Delete jobs and their results."""
    query = select(JobRow.blob_key).where(JobRow.id.in_(job_ids), JobRow.blob_key.is_not(None))
    if keys := [key for key in session.scalars(query) if key]:
        blobs.delete(session, keys)
    session.execute(delete(JobRow).where(JobRow.id.in_(job_ids)))


def blob_keys(session: Session) -> dict[int, str]:
    """Blob keys of all results, by job id."""
    query = select(JobRow.id, JobRow.blob_key).where(JobRow.blob_key.is_not(None))
    return {job_id: str(key) for job_id, key in session.execute(query.order_by(JobRow.id))}


def blob_bytes(session: Session) -> int:
    """Total bytes of all results."""
    return session.scalar(select(func.coalesce(func.sum(JobRow.bytes), 0))) or 0


def _end(session: Session, job_id: int, status: JobStatus, values: Mapping[str, Any]) -> bool:
    changes = {"status": status, "finished_at": datetime.now(UTC), "active_identity": None}
    return _change(session, job_id, UNFINISHED_STATUSES, {**changes, **values})


def _change(
    session: Session, job_id: int, from_statuses: Collection[JobStatus], values: Mapping[str, Any]
) -> bool:
    change = update(JobRow).where(JobRow.id == job_id, JobRow.status.in_(from_statuses))
    result = session.execute(change.values(**values).execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", result).rowcount > 0


def _row(session: Session, job_id: int) -> JobRow:
    row = session.get(JobRow, job_id, populate_existing=True)
    if row is None:
        raise JobNotFound(job_id)
    return row


def _value(row: JobRow) -> Job:
    error = JobError(row.error_type, row.error_detail or "") if row.error_type else None
    return Job(
        id=row.id,
        type=row.type,
        owner=row.owner,
        request=row.request,
        status=JobStatus(row.status),
        progress=row.progress,
        error=error,
        server=row.server,
        heartbeats=row.heartbeats,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        result_media_type=row.result_media_type,
        result_bytes=row.bytes,
    )
