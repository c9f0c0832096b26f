"""The composition root: everything a Camreel process works with, wired from its settings."""

import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from service.background import BackgroundTask, BackgroundTasks
from service.core.allocator import keep_freed_memory
from service.core.datasets.folder_archive import ArchiveLimits
from service.core.devices import available_devices
from service.core.environment import DEFAULT_THREADS
from service.core.parallel import use_torch_threads
from service.flows.access import is_loopback
from service.flows.cache_sizes import CacheSizes
from service.flows.credential_cache import CredentialCache
from service.flows.dataset_reports import DatasetReports
from service.flows.dataset_uploads import DatasetUploads
from service.flows.datasets import open_folders
from service.flows.deletion import DeletedRunCleaner, UnusedTensorCleaner
from service.flows.dispatch import LeaseMonitor, QueueMonitor, dispatch_queued
from service.flows.election import CAMPAIGN_SECONDS, ElectedExecutor, Election
from service.flows.experiment_matrix import ExperimentMatrices
from service.flows.experiment_results import ExperimentResults
from service.flows.experiments import Experiments
from service.flows.image_folders import FolderLimits
from service.flows.jobs import SCAN_SECONDS, JobLimits, Jobs
from service.flows.maps.atlas import Atlases
from service.flows.maps.pictures import MapPictures
from service.flows.maps.pipeline import MapPipeline
from service.flows.networks import Networks
from service.flows.readiness import ReadinessProbe
from service.flows.recorded_runs import RecorderMonitor, Recordings
from service.flows.run_activity import RunActivities
from service.flows.server_names import server_name
from service.flows.spools import SpoolWatcher, spool_scan
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
from service.store_errors import StoreFull, StoreUnavailable

READING_THREADS, CHANGING_THREADS = 8, 8
MAX_WAITING_READS = 1_000
QUEUE_SCAN_SECONDS = 0.25
"""How long a run waits that another process has queued, at most."""

MAX_LEASE_SCAN_SECONDS = 10.0
MAX_CAMPAIGN_BACKOFF_SECONDS = 2.0
RESIGN_SECONDS = 2.0
DELETION_SECONDS = 1.0
DELETION_CALL_SECONDS = 1.0
UNUSED_TENSOR_SECONDS = 60.0
SPOOL_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class ServiceSet:
    """The store, the executor, and the flows that share them."""

    store: Store
    election: Election
    executor: Executor
    workspace: Workspace
    pipeline: MapPipeline
    pictures: MapPictures
    atlases: Atlases
    summaries: RunSummaries
    activities: RunActivities
    experiments: Experiments
    experiment_results: ExperimentResults
    matrices: ExperimentMatrices
    parallel_runs: int
    credentials: CredentialCache
    uploads: UploadService
    datasets: DatasetReports
    dataset_uploads: DatasetUploads
    networks: Networks
    recordings: Recordings
    spool_watcher: SpoolWatcher
    thread_pools: ThreadPools
    jobs: Jobs
    background: BackgroundTasks
    readiness: ReadinessProbe
    max_queued_runs: int

    def start(self) -> None:
        """Dispatch the queued runs if elected, and start the background threads of a server."""
        # A database that cannot be written is not ready; the service starts nevertheless.
        with suppress(StoreUnavailable, StoreFull):
            self.election.campaign()
        if self.election.is_leader:
            dispatch_queued(self.store, self.executor, self.workspace)
        self.background.add(_election(self.election))
        self.background.add(_queue_monitor(self))
        self.background.add(_lease_monitor(self))
        self.background.add(_recorder_monitor(self))
        if self.spool_watcher.folders:
            self.background.add(_spools(self))
        self.background.add(_deletion(self.store))
        self.background.add(_unused_tensors(self.store))
        self.background.add(BackgroundTask("jobs", self.jobs.scan, interval_seconds=SCAN_SECONDS))
        self.background.start()

    def close(self) -> None:
        """End all work and close the store; an error in one part does not keep the others open."""
        with ExitStack() as last_to_first:
            last_to_first.callback(self.store.close)
            last_to_first.callback(self.pipeline.close)
            last_to_first.callback(self._resign)
            last_to_first.callback(self.background.join)
            last_to_first.callback(self.executor.close)
            last_to_first.callback(self.jobs.close)
            last_to_first.callback(self.thread_pools.close)
            last_to_first.callback(self.uploads.close)
            self.background.request_stop()

    def _resign(self) -> None:
        """After the end of the workers, whose runs another process then dispatches."""

        def resign() -> None:
            # Otherwise others see that this process has ended, or that its lease has.
            with suppress(StoreUnavailable, StoreFull):
                self.election.resign()

        # In a thread: it waits for other writers, the shutdown does not.
        thread = threading.Thread(target=resign, name="resign", daemon=True)
        thread.start()
        thread.join(RESIGN_SECONDS)


def _jobs(settings: Settings, store: Store, pools: ThreadPools, election: Election) -> Jobs:
    limits = JobLimits(settings.max_jobs, settings.job_seconds, settings.lease_seconds)
    return Jobs(store, pools[PoolName.BATCH], limits, election.name)


def _spool_watcher(
    settings: Settings, recordings: Recordings, workspace: Workspace
) -> SpoolWatcher:
    return SpoolWatcher(recordings, str(workspace.database), tuple(map(Path, settings.spools)))


def _executor(settings: Settings, election: Election | None) -> Executor:
    """The settings' executor. With an election, it starts runs only while elected."""
    executor: Executor = EXECUTORS[settings.executor](
        settings.max_parallel_runs, WORKER_IMPORTS, available_devices
    )
    return executor if election is None else ElectedExecutor(executor, election)


def open_services(settings: Settings, *, is_server: bool = False) -> ServiceSet:
    """The flows on the settings' database, whose schema is created if it is empty.

    The executor of a server starts runs only while its process is elected. Nothing runs before
    `start`. Raises SchemaMismatch for a database that another version made.
    """
    keep_freed_memory()
    workspace = _workspace(settings)
    store = Store.open(workspace.database, workspace.blobs, workspace.bounds)
    schema.ensure(store)
    check_folder(workspace.data_dir, "CAMREEL_DATA_DIR")
    thread_pools = _thread_pools(settings)
    folders = open_folders(workspace)
    pipeline = MapPipeline(
        store,
        workspace.data_dir,
        settings.memory_bytes,
        CacheSizes.share(settings.cache_bytes, settings.workers if is_server else 1),
        is_idle=lambda: _is_idle(thread_pools),
        folders=folders,
    )
    datasets = DatasetReports(pipeline.images, folders, pipeline.cache_sizes.images)
    election = Election(store, server_name(), settings.lease_seconds)
    executor = _executor(settings, election if is_server else None)
    background = BackgroundTasks()
    experiment_results = ExperimentResults(store)
    recordings = Recordings(store, pipeline.networks)
    return ServiceSet(
        store=store,
        election=election,
        executor=executor,
        workspace=workspace,
        pipeline=pipeline,
        pictures=MapPictures(pipeline),
        atlases=Atlases(pipeline),
        summaries=RunSummaries(store),
        activities=RunActivities(store, executor),
        experiments=Experiments(store, executor, workspace),
        experiment_results=experiment_results,
        matrices=ExperimentMatrices(pipeline, experiment_results),
        parallel_runs=settings.max_parallel_runs,
        credentials=CredentialCache(store, settings.auth == "auto" and is_loopback(settings.host)),
        uploads=_uploads(settings, store),
        datasets=datasets,
        dataset_uploads=DatasetUploads(
            store,
            datasets,
            workspace.data_dir,
            ArchiveLimits(expanded_bytes=settings.max_dataset_bytes),
            settings.min_free_bytes,
        ),
        networks=pipeline.networks,
        recordings=recordings,
        spool_watcher=_spool_watcher(settings, recordings, workspace),
        thread_pools=thread_pools,
        jobs=_jobs(settings, store, thread_pools, election),
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
        recorder_seconds=settings.recorder_seconds,
        bounds=StorageLimits(settings.quota_bytes, settings.min_free_bytes),
        folder_limits=FolderLimits(settings.dataset_cache_bytes, settings.max_upload_pixels),
    )


def _thread_pools(settings: Settings) -> ThreadPools:
    max_waiting = settings.max_waiting_requests
    return ThreadPools(
        {
            PoolName.READING: (READING_THREADS, MAX_WAITING_READS),
            PoolName.WRITING: (CHANGING_THREADS, MAX_WAITING_READS),
            PoolName.INTERACTIVE: (settings.interactive_threads, max_waiting),
            PoolName.BATCH: (settings.batch_threads, max_waiting),
        },
        on_thread_start=_set_torch_threads,
    )


def _set_torch_threads(pool: PoolName) -> None:
    # The pool for reading also computes single maps, too little work for threads to share.
    use_torch_threads(1 if pool is PoolName.READING else DEFAULT_THREADS)


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


def _election(election: Election) -> BackgroundTask:
    return BackgroundTask(
        "election",
        election.campaign,
        interval_seconds=CAMPAIGN_SECONDS,
        max_backoff_seconds=MAX_CAMPAIGN_BACKOFF_SECONDS,
    )


def _queue_monitor(services: ServiceSet) -> BackgroundTask:
    monitor = QueueMonitor(services.store, services.executor, services.workspace)

    def scan() -> None:
        if services.election.is_leader:
            monitor.scan()

    return BackgroundTask("queue-monitor", scan, interval_seconds=QUEUE_SCAN_SECONDS)


def _lease_monitor(services: ServiceSet) -> BackgroundTask:
    monitor = LeaseMonitor(services.store, services.executor, services.workspace)

    def scan() -> None:
        # Also while the lease cannot be renewed: a worker of this process, stopped during its
        # commit, may be what blocks the database.
        if services.election.holds_role:
            monitor.scan()

    # Often enough that a lost run is resumed within two leases.
    interval_seconds = min(MAX_LEASE_SCAN_SECONDS, services.workspace.lease_seconds / 3)
    return BackgroundTask("lease-monitor", scan, interval_seconds=interval_seconds)


def _recorder_monitor(services: ServiceSet) -> BackgroundTask:
    monitor = RecorderMonitor(services.store, services.workspace.recorder_seconds)

    def scan() -> None:
        if services.election.is_leader:
            monitor.scan()

    interval_seconds = min(MAX_LEASE_SCAN_SECONDS, services.workspace.recorder_seconds / 3)
    return BackgroundTask("recorder-monitor", scan, interval_seconds=interval_seconds)


def _spools(services: ServiceSet) -> BackgroundTask:
    scan = spool_scan(services.spool_watcher, lambda: services.election.is_leader)
    return BackgroundTask("spools", scan, interval_seconds=SPOOL_SECONDS)


def _unused_tensors(store: Store) -> BackgroundTask:
    cleaner = UnusedTensorCleaner(store)

    def free_batch() -> None:
        # In short calls: each that returns shows that the task is alive.
        if not cleaner.free_space(DELETION_CALL_SECONDS):
            task.wake()

    task = BackgroundTask("unused-tensors", free_batch, interval_seconds=UNUSED_TENSOR_SECONDS)
    return task


def _deletion(store: Store) -> BackgroundTask:
    deletion = DeletedRunCleaner(store)

    def free_batch() -> None:
        # In short calls: each that returns shows that the task is alive.
        if not deletion.free_space(DELETION_CALL_SECONDS):
            task.wake()

    task = BackgroundTask("deletion", free_batch, interval_seconds=DELETION_SECONDS)
    return task
