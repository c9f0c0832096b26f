"""Jobs: long work that is started by one request, followed by others, and kept for a while.

A job is computed by the process that it was created in. What its database row says is what counts:
whoever ends the row, from whatever process, ends the work.
"""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import structlog

from service.errors import (
    CamreelError,
    Interrupted,
    JobNotDone,
    JobNotOwned,
    JobsFull,
    NotFound,
    RequestCancelled,
    StoreUnavailable,
    error_type,
)
from service.flows.heartbeats import HeartbeatMonitor
from service.flows.server_names import is_dead, server_name
from service.flows.thread_pools import Computation, ThreadPool
from service.store import jobs
from service.store.jobs import Job, JobError, JobResult, NewJob
from service.store.store import Store

SCAN_SECONDS = 0.25
"""How often the rows of own jobs are read: a job that was cancelled ends within a second."""

PROGRESS_SECONDS = 1.0
EXPIRY_SECONDS = 60.0
HEARTBEATS_PER_LEASE = 3
MAX_REMOVED_PER_TRANSACTION = 20

Compute = Callable[[], JobResult]

log = structlog.get_logger()


@dataclass(frozen=True)
class JobLimits:
    """How many jobs are kept, for how long after their end, and when one's server is lost."""

    max_jobs: int
    result_seconds: int
    lease_seconds: float


@dataclass
class _LocalJob:
    """A job of this process."""

    computation: Computation[None]
    recorded_progress: float | None = None  # the progress that its row has


@dataclass
class Jobs:
    """The jobs of one database, and those that this process computes."""

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
        """A new job, or the unfinished one of the same identity.

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
                # After the commit: what starts sooner would not find its row.
                function = lambda: self._run(job.id, compute)  # noqa: E731
                self._local_jobs[job.id] = _LocalJob(self.thread_pool.submit(function, job=True))
        return job

    def get(self, job_id: int) -> Job:
        """The job, with the progress of this moment where it is computed here.

        Raises JobNotFound.
        """
        with self.store.read_session() as session:
            return self._with_progress(jobs.get(session, job_id))

    def get_many(self, job_ids: Collection[int]) -> dict[int, Job]:
        """Those of the jobs that exist, by id, each with the progress of this moment."""
        with self.store.read_session() as session:
            rows = jobs.get_many(session, job_ids)
        return {job.id: self._with_progress(job) for job in rows}

    def list_newest(self, *, limit: int, before_id: int | None, status: str | None) -> list[Job]:
        """Jobs, newest first."""
        with self.store.read_session() as session:
            rows = jobs.list_newest(session, limit=limit, before_id=before_id, status=status)
        return [self._with_progress(job) for job in rows]

    def result(self, job_id: int) -> JobResult:
        """What the job gave. Raises JobNotFound, and JobNotDone where it has no result."""
        with self.store.read_session() as session:
            job = jobs.get(session, job_id)
            if job.status != jobs.JobStatus.SUCCEEDED:
                raise JobNotDone(job_id, job.status)
            found = jobs.get_result(session, self.store.blobs, job_id)
        if found is None:
            raise NotFound(f"The result of job {job_id} is gone or damaged.")
        return found

    def cancel_or_remove(self, job_id: int, owner: str, *, any_owner: bool) -> Job | None:
        """Cancel an unfinished job, which is returned; or remove one that has ended.

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
        """Follow own jobs, end those of processes that died, remove expired ones.

        To be called every FOLLOW_SECONDS from one thread. Raises StoreBusy, StoreFull.
        """
        self._reconcile()
        if self._is_due("beat", self._heartbeat_seconds) or (
            self._has_new_progress() and self._is_due("progress", PROGRESS_SECONDS)
        ):
            self._write_heartbeats()
        if self._is_due("others", self._heartbeat_seconds):
            self._interrupt_lost()
        if self._is_due("expiry", min(EXPIRY_SECONDS, self.limits.result_seconds / 4)):
            self.remove_expired()

    def remove_expired(self) -> None:
        """Remove jobs that ended too long ago."""
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
        """End own jobs as interrupted: nobody computes them any more."""
        with self._start_lock:
            job_ids, self._local_jobs = list(self._local_jobs), {}
        for job_id in job_ids:
            try:
                self._fail(job_id, Interrupted())
            except StoreUnavailable:
                return  # another process finds them later

    def _run(self, job_id: int, compute: Compute) -> None:
        """In a thread of the lane."""
        with self.store.write_session() as session:
            if not jobs.start(session, job_id):
                return
        try:
            result = compute()
            with self.store.write_session() as session:
                jobs.succeed(session, self.store.blobs, job_id, result)
        except RequestCancelled:
            return  # its row has ended
        except Exception as error:
            if not isinstance(error, CamreelError):
                log.exception("job failed", job=job_id)
            self._fail(job_id, error)

    def _fail(self, job_id: int, error: Exception) -> None:
        cause = JobError("internal-error", "Something went wrong that Camreel did not foresee.")
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
        """Stop the work of own jobs whose rows have ended, and end rows that nothing works for."""
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
                # Its outcome could not be written, the database being busy.
                self._fail(job_id, Interrupted())
                self._stop_computation(job_id)

    def _has_new_progress(self) -> bool:
        return any(
            one.computation.progress != one.recorded_progress for one in self._local_jobs.values()
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
        """End jobs of other processes that are dead, or whose heartbeats stood still for the length
        of a lease.
        """
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
