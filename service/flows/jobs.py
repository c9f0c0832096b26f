"""Jobs: long computations that one request starts, others poll, and that are kept for a while.

The process that creates a job computes it. The job's row is authoritative: any process that ends
the row ends the computation.
"""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from service.errors import (
    CamreelError,
    Interrupted,
    JobNotDone,
    JobNotOwned,
    JobsFull,
    NotFound,
    RequestCancelled,
    error_type,
)
from service.flows.heartbeats import HeartbeatMonitor
from service.flows.server_names import is_dead, server_name
from service.flows.thread_pools import Computation, ThreadPool
from service.store import jobs
from service.store.jobs import Job, JobError, JobResult, NewJob
from service.store.store import Store
from service.store_errors import StoreUnavailable

SCAN_SECONDS = 0.25
"""Interval of `Jobs.scan`. Short enough that a cancelled job ends within a second."""

PROGRESS_SECONDS = 1.0
EXPIRY_SECONDS = 60.0
HEARTBEATS_PER_LEASE = 3
MAX_REMOVED_PER_TRANSACTION = 20

Compute = Callable[[], JobResult]

log = structlog.get_logger()


@dataclass(frozen=True)
class JobLimits:
    """The number of jobs kept, their retention after the end, and the lease of their server."""

    max_jobs: int
    result_seconds: int
    lease_seconds: float


@dataclass
class _LocalJob:
    """A job that this process computes."""

    computation: Computation[None]
    recorded_progress: float | None = None  # 0..1, as last written to its row


@dataclass
class Jobs:
    """All jobs of the database, of which this process computes its own."""

    store: Store
    thread_pool: ThreadPool
    limits: JobLimits
    server: str = field(default_factory=server_name)
    _local_jobs: dict[int, _LocalJob] = field(default_factory=dict)
    _start_lock: threading.Lock = field(default_factory=threading.Lock)
    _remote_heartbeats: HeartbeatMonitor[int, int] = field(default_factory=HeartbeatMonitor)
    _due_at: dict[str, float] = field(default_factory=dict)

    def start(
        self, work_kind: str, identity: str, owner: str, request: str, compute: Compute
    ) -> Job:
        """A new job, or the unfinished job with the same identity.

        Raises JobsFull, StoreBusy, StoreFull.
        """
        new_job = NewJob(work_kind, identity, owner, request, self.server)
        with self._start_lock:
            with self.store.write_session() as session:
                self.store.quota.check(session)
                job, is_new = jobs.create(session, new_job)
                if is_new and (surplus := jobs.count(session) - self.limits.max_jobs) > 0:
                    ended_ids = jobs.list_finished_ids(session, limit=surplus)
                    if len(ended_ids) < surplus:
                        raise JobsFull(self.limits.max_jobs)
                    jobs.delete_jobs(session, self.store.blobs, ended_ids)
            if is_new:
                # After the commit: a computation that starts earlier does not find its row.
                computation = self.thread_pool.submit(partial(self._run, job.id, compute), job=True)
                self._local_jobs[job.id] = _LocalJob(computation)
        return job

    def get(self, job_id: int) -> Job:
        """The job, with its current progress if this process computes it.

        Raises JobNotFound.
        """
        with self.store.read_session() as session:
            return self._with_progress(jobs.get(session, job_id))

    def get_many(self, job_ids: Collection[int]) -> dict[int, Job]:
        """The jobs that exist, by id, with current progress like `get`."""
        with self.store.read_session() as session:
            rows = jobs.get_many(session, job_ids)
        return {job.id: self._with_progress(job) for job in rows}

    def list_newest(self, *, limit: int, before_id: int | None, status: str | None) -> list[Job]:
        """Jobs, newest first, with current progress like `get`."""
        with self.store.read_session() as session:
            rows = jobs.list_newest(session, limit=limit, before_id=before_id, status=status)
        return [self._with_progress(job) for job in rows]

    def result(self, job_id: int) -> JobResult:
        """The job's result. Raises JobNotFound, JobNotDone, and NotFound for a damaged result."""
        with self.store.read_session() as session:
            job = jobs.get(session, job_id)
            if job.status != jobs.JobStatus.SUCCEEDED:
                raise JobNotDone(job_id, job.status)
            job_result = jobs.get_result(session, self.store.blobs, job_id)
        if job_result is None:
            raise NotFound(f"The result of job {job_id} is missing or damaged.")
        return job_result

    def cancel_or_remove(self, job_id: int, owner: str, *, any_owner: bool) -> Job | None:
        """Cancel an unfinished job and return it, or remove a finished job and return None.

        Raises JobNotFound, JobNotOwned.
        """
        with self.store.write_session() as session:
            job = jobs.get(session, job_id)
            if not any_owner and job.owner != owner:
                raise JobNotOwned
            cancelled = jobs.cancel(session, job_id)
            if cancelled:
                job = jobs.get(session, job_id)
            else:
                jobs.delete_jobs(session, self.store.blobs, [job_id])
        self._stop_computation(job_id)
        return job if cancelled else None

    def scan(self) -> None:
        """Update own jobs, end jobs of dead processes, and remove expired jobs.

        Call it every SCAN_SECONDS from one thread. Raises StoreBusy, StoreFull.
        """
        self._reconcile()
        if self._is_due("heartbeat", self._heartbeat_seconds) or (
            self._has_new_progress() and self._is_due("progress", PROGRESS_SECONDS)
        ):
            self._write_heartbeats()
        if self._is_due("remote", self._heartbeat_seconds):
            self._interrupt_lost()
        if self._is_due("expiry", min(EXPIRY_SECONDS, self.limits.result_seconds / 4)):
            self.remove_expired()

    def remove_expired(self) -> None:
        """Remove the jobs that ended more than `result_seconds` ago."""
        oldest = datetime.now(UTC) - timedelta(seconds=self.limits.result_seconds)
        while True:
            with self.store.read_session() as session:
                expired = jobs.list_finished_ids(
                    session, finished_before=oldest, limit=MAX_REMOVED_PER_TRANSACTION
                )
            if not expired:
                return
            with self.store.write_session() as session:
                jobs.delete_jobs(session, self.store.blobs, expired)

    def close(self) -> None:
        """Fail own unfinished jobs as interrupted."""
        with self._start_lock:
            job_ids, self._local_jobs = list(self._local_jobs), {}
        for job_id in job_ids:
            try:
                self._fail(job_id, Interrupted())
            except StoreUnavailable:
                return  # another process will fail them

    def _run(self, job_id: int, compute: Compute) -> None:
        """Compute the job, in a thread of the pool."""
        with self.store.write_session() as session:
            if not jobs.start(session, job_id):
                return
        try:
            result = compute()
            with self.store.write_session() as session:
                jobs.succeed(session, self.store.blobs, job_id, result)
        except RequestCancelled:
            return  # its row has already ended
        except Exception as error:
            if not isinstance(error, CamreelError):
                log.exception("job failed", job=job_id)
            self._fail(job_id, error)

    def _fail(self, job_id: int, error: Exception) -> None:
        cause = JobError("internal-error", "An unexpected error occurred.")
        if isinstance(error, CamreelError):
            cause = JobError(error_type(type(error)), str(error))
        with self.store.write_session() as session:
            jobs.fail(session, job_id, cause)

    def _with_progress(self, job: Job) -> Job:
        local_job = self._local_jobs.get(job.id)
        if local_job is None or not job.is_unfinished:
            return job
        return replace(job, progress=local_job.computation.progress)

    def _stop_computation(self, job_id: int) -> None:
        local_job = self._local_jobs.pop(job_id, None)
        if local_job is not None:
            self.thread_pool.leave(local_job.computation)

    def _reconcile(self) -> None:
        """Stop computations whose rows have ended, and fail rows whose computation has ended."""
        if not self._local_jobs:
            return
        with self._start_lock:
            local_jobs = dict(self._local_jobs)
            with self.store.read_session() as session:
                unfinished = {job.id for job in jobs.list_unfinished(session)}
        for job_id, local_job in local_jobs.items():
            if job_id not in unfinished:
                self._stop_computation(job_id)
            elif local_job.computation.result.done():
                # Its outcome could not be written because the database was busy.
                self._fail(job_id, Interrupted())
                self._stop_computation(job_id)

    def _has_new_progress(self) -> bool:
        return any(
            local_job.computation.progress != local_job.recorded_progress
            for local_job in self._local_jobs.values()
        )

    def _write_heartbeats(self) -> None:
        local_jobs = dict(self._local_jobs)
        if not local_jobs:
            return
        with self.store.write_session() as session:
            for job_id, local_job in local_jobs.items():
                local_job.recorded_progress = local_job.computation.progress
                jobs.update_heartbeat(session, job_id, local_job.recorded_progress)

    def _interrupt_lost(self) -> None:
        """Fail jobs of other processes that are dead or sent no heartbeat for a whole lease."""
        now_seconds = time.monotonic()
        with self.store.read_session() as session:
            remote_jobs = [
                job for job in jobs.list_unfinished(session) if job.id not in self._local_jobs
            ]
        self._remote_heartbeats.observe(
            {job.id: job.heartbeats for job in remote_jobs}, now_seconds
        )
        stopped_jobs = self._remote_heartbeats.stopped_heartbeats(
            now_seconds, self.limits.lease_seconds
        )
        for job in remote_jobs:
            if job.id in stopped_jobs or is_dead(job.server):
                self._fail(job.id, Interrupted())

    @property
    def _heartbeat_seconds(self) -> float:
        return self.limits.lease_seconds / HEARTBEATS_PER_LEASE

    def _is_due(self, activity: str, every_seconds: float) -> bool:
        now_seconds = time.monotonic()
        if now_seconds < self._due_at.get(activity, 0.0):
            return False
        self._due_at[activity] = now_seconds + every_seconds
        return True
