"""The composition root: everything a Camreel process works with, wired from its settings."""

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

from service.background import BackgroundTask, BackgroundTasks
from service.core.allocator import keep_freed_memory
from service.core.devices import available_devices
from service.flows.access import is_loopback
from service.flows.credential_cache import CredentialCache
from service.flows.deletion import DeletedRunCleaner
from service.flows.dispatch import LeaseMonitor, dispatch_queued
from service.flows.jobs import SCAN_SECONDS, JobLimits, Jobs
from service.flows.maps.atlas import Atlases
from service.flows.maps.pictures import MapPictures
from service.flows.maps.pipeline import MapPipeline
from service.flows.readiness import ReadinessProbe
from service.flows.run_activity import RunActivities
from service.flows.summaries import RunSummaries
from service.flows.thread_pools import PoolName, ThreadPools
from service.flows.upload_service import UploadService, upload_decoder
from service.flows.worker import WORKER_IMPORTS
from service.flows.workspace import Workspace
from service.folders import check_folder
from service.jobs import EXECUTORS, Executor
from service.settings import Settings
from service.store import schema
from service.store.storage_quota import StorageLimits
from service.store.store import Store

READING_THREADS, CHANGING_THREADS = 8, 8
MAX_WAITING_READS = 1_000
MAX_LEASE_SCAN_SECONDS = 10.0
DELETION_SECONDS = 1.0
DELETION_CALL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class ServiceSet:
    """The store, the executor, and the flows that share them."""

    store: Store
    executor: Executor
    workspace: Workspace
    pipeline: MapPipeline
    pictures: MapPictures
    atlases: Atlases
    summaries: RunSummaries
    activities: RunActivities
    credentials: CredentialCache
    uploads: UploadService
    thread_pools: ThreadPools
    jobs: Jobs
    background: BackgroundTasks
    readiness: ReadinessProbe
    max_queued_runs: int

    def start(self) -> None:
        """Dispatch the queued runs, and start the background threads of a server."""
        dispatch_queued(self.store, self.executor, self.workspace)
        self.background.add(_lease_monitor(self))
        self.background.add(_deletion(self.store))
        self.background.add(BackgroundTask("jobs", self.jobs.scan, interval_seconds=SCAN_SECONDS))
        self.background.start()

    def close(self) -> None:
        """End all work and close the store; an error in one part does not keep the others open."""
        with ExitStack() as last_to_first:
            last_to_first.callback(self.store.close)
            last_to_first.callback(self.pipeline.close)
            last_to_first.callback(self.background.join)
            last_to_first.callback(self.executor.close)
            last_to_first.callback(self.jobs.close)
            last_to_first.callback(self.thread_pools.close)
            last_to_first.callback(self.uploads.close)
            self.background.request_stop()


def open_services(settings: Settings) -> ServiceSet:
    """The flows on the settings' database, whose schema is created if it is empty.

    Nothing runs before `start`. Raises SchemaMismatch for a database that another version made.
    """
    keep_freed_memory()
    workspace = _workspace(settings)
    store = Store.open(workspace.database, workspace.blobs, workspace.bounds)
    schema.ensure(store)
    check_folder(workspace.data_dir, "CAMREEL_DATA_DIR")
    thread_pools = _thread_pools(settings)
    pipeline = MapPipeline(
        store, workspace.data_dir, settings.memory_bytes, is_idle=lambda: _is_idle(thread_pools)
    )
    executor = EXECUTORS[settings.executor](
        settings.max_parallel_runs, WORKER_IMPORTS, available_devices
    )
    background = BackgroundTasks()
    job_bounds = JobLimits(settings.max_jobs, settings.job_seconds, settings.lease_seconds)
    return ServiceSet(
        store=store,
        executor=executor,
        workspace=workspace,
        pipeline=pipeline,
        pictures=MapPictures(pipeline),
        atlases=Atlases(pipeline),
        summaries=RunSummaries(store),
        activities=RunActivities(store, executor),
        credentials=CredentialCache(store, settings.auth == "auto" and is_loopback(settings.host)),
        uploads=_uploads(settings, store),
        thread_pools=thread_pools,
        jobs=Jobs(store, thread_pools[PoolName.BATCH], job_bounds),
        background=background,
        readiness=ReadinessProbe(store, executor, background),
        max_queued_runs=settings.max_queued_runs,
    )


def _workspace(settings: Settings) -> Workspace:
    return Workspace(
        settings.database,
        settings.blobs,
        settings.resolved_data_dir.absolute(),
        lease_seconds=settings.lease_seconds,
        max_attempts=settings.max_attempts,
        bounds=StorageLimits(settings.quota_bytes, settings.min_free_bytes),
    )


def _thread_pools(settings: Settings) -> ThreadPools:
    max_waiting = settings.max_waiting_requests
    return ThreadPools(
        {
            PoolName.READING: (READING_THREADS, MAX_WAITING_READS),
            PoolName.WRITING: (CHANGING_THREADS, MAX_WAITING_READS),
            PoolName.INTERACTIVE: (settings.interactive_threads, max_waiting),
            PoolName.BATCH: (settings.batch_threads, max_waiting),
        }
    )


def _is_idle(thread_pools: ThreadPools) -> bool:
    loads = thread_pools.loads()
    computing = (loads[PoolName.INTERACTIVE], loads[PoolName.BATCH])
    return not any(load.running or load.waiting for load in computing)


def _uploads(settings: Settings, store: Store) -> UploadService:
    return UploadService(
        store,
        upload_decoder(settings.max_upload_pixels, settings.max_upload_bytes),
        settings.max_upload_pixels,
        timedelta(days=settings.upload_days),
    )


def _lease_monitor(services: ServiceSet) -> BackgroundTask:
    monitor = LeaseMonitor(services.store, services.executor, services.workspace)
    # Often enough that a lost run is resumed within two leases.
    interval_seconds = min(MAX_LEASE_SCAN_SECONDS, services.workspace.lease_seconds / 3)
    return BackgroundTask("lease-monitor", monitor.scan, interval_seconds=interval_seconds)


def _deletion(store: Store) -> BackgroundTask:
    deletion = DeletedRunCleaner(store)

    def free_batch() -> None:
        # In short calls: each that returns shows that the task is alive.
        if not deletion.free_space(DELETION_CALL_SECONDS):
            task.wake()

    task = BackgroundTask("deletion", free_batch, interval_seconds=DELETION_SECONDS)
    return task
