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
class JobBounds:
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
    bounds: JobBounds
    server: str = field(default_factory=server_name)
    _local_jobs: dict[int, _LocalJob] = field(default_factory=dict)
    _starting: threading.Lock = field(default_factory=threading.Lock)
    _remote_heartbeats: HeartbeatMonitor[int, int] = field(default_factory=HeartbeatMonitor)
    _due_at: dict[str, float] = field(default_factory=dict)

    def start(self, kind: str, identity: str, owner: str, request: str, compute: Compute) -> Job:
        """A new job, or the unfinished one of the same identity.

        Raises JobsFull, StoreBusy, StoreFull.
        """
        new = NewJob(kind, identity, owner, request, self.server)
        with self._starting:
            with self.store.write_session() as session:
                self.store.quota.check(session)
                job, is_new = jobs.create(session, new)
                if is_new and (surplus := jobs.count(session) - self.bounds.max_jobs) > 0:
                    ended = jobs.list_finished_ids(session, limit=surplus)
                    if len(ended) < surplus:
                        raise JobsFull(self.bounds.max_jobs)
                    jobs.delete_jobs(session, self.store.blobs, ended)
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
            return self._current(jobs.get(session, job_id))

    def with_ids(self, job_ids: Collection[int]) -> dict[int, Job]:
        """Those of the jobs that exist, by id, each with the progress of this moment."""
        with self.store.read_session() as session:
            rows = jobs.get_many(session, job_ids)
        return {job.id: self._current(job) for job in rows}

    def newest(self, *, limit: int, before: int | None, status: str | None) -> list[Job]:
        """Jobs, newest first."""
        with self.store.read_session() as session:
            found = jobs.list_newest(session, limit=limit, before_id=before, status=status)
        return [self._current(job) for job in found]

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
        if self._is_due("expiry", min(EXPIRY_SECONDS, self.bounds.result_seconds / 4)):
            self.remove_expired()

    def remove_expired(self) -> None:
        """Remove jobs that ended too long ago."""
        before = datetime.now(UTC) - timedelta(seconds=self.bounds.result_seconds)
        while True:
            with self.store.read_session() as session:
                expired = jobs.list_finished_ids(
                    session, finished_before=before, limit=MAX_REMOVED_PER_TRANSACTION
                )
            if not expired:
                return
            with self.store.write_session() as session:
                jobs.delete_jobs(session, self.store.blobs, expired)

    def close(self) -> None:
        """End own jobs as interrupted: nobody computes them any more."""
        with self._starting:
            own, self._local_jobs = list(self._local_jobs), {}
        for job_id in own:
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

    def _current(self, job: Job) -> Job:
        own = self._local_jobs.get(job.id)
        if own is None or not job.is_unfinished:
            return job
        return replace(job, progress=own.computation.progress)

    def _stop_computation(self, job_id: int) -> None:
        own = self._local_jobs.pop(job_id, None)
        if own is not None:
            self.thread_pool.leave(own.computation)

    def _reconcile(self) -> None:
        """Stop the work of own jobs whose rows have ended, and end rows that nothing works for."""
        if not self._local_jobs:
            return
        with self._starting:
            own = dict(self._local_jobs)
            with self.store.read_session() as session:
                unfinished = {job.id for job in jobs.list_unfinished(session)}
        for job_id, one in own.items():
            if job_id not in unfinished:
                self._stop_computation(job_id)
            elif one.computation.result.done():
                # Its outcome could not be written, the database being busy.
                self._fail(job_id, Interrupted())
                self._stop_computation(job_id)

    def _has_new_progress(self) -> bool:
        return any(
            one.computation.progress != one.recorded_progress for one in self._local_jobs.values()
        )

    def _write_heartbeats(self) -> None:
        own = dict(self._local_jobs)
        if not own:
            return
        with self.store.write_session() as session:
            for job_id, one in own.items():
                one.recorded_progress = one.computation.progress
                jobs.update_heartbeat(session, job_id, one.recorded_progress)

    def _interrupt_lost(self) -> None:
        """End jobs of other processes that are dead, or whose heartbeats stood still for the length
        of a lease.
        """
        now = time.monotonic()
        with self.store.read_session() as session:
            others = [
                job for job in jobs.list_unfinished(session) if job.id not in self._local_jobs
            ]
        self._remote_heartbeats.observe({job.id: job.heartbeats for job in others}, now)
        stopped = self._remote_heartbeats.stopped(now, self.bounds.lease_seconds)
        for job in others:
            if job.id in stopped or is_dead(job.server):
                self._fail(job.id, Interrupted())

    @property
    def _heartbeat_seconds(self) -> float:
        return self.bounds.lease_seconds / HEARTBEATS_PER_LEASE

    def _is_due(self, what: str, every_seconds: float) -> bool:
        now = time.monotonic()
        if now < self._due_at.get(what, 0.0):
            return False
        self._due_at[what] = now + every_seconds
        return True
