"""The application: everything wired, nothing decided."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta

from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from service import __version__, logs
from service.api import problems
from service.api.caching import ContentETags
from service.api.event_hub import EventHub, StreamSlots
from service.api.first_asked import first_asked
from service.api.metrics import Metrics
from service.api.middleware import protection
from service.api.middleware.body_limits import BodyLimits
from service.api.middleware.departures import Departures
from service.api.middleware.methods import Methods
from service.api.middleware.protection import Protection
from service.api.middleware.ranges import Ranges
from service.api.resources import (
    atlas,
    audit,
    cams,
    catalogue,
    docs,
    epochs,
    evaluation,
    events,
    health,
    images,
    jobs,
    pictures,
    report,
    scores,
    session,
    tables,
    uploads,
)
from service.api.resources import runs as runs_api
from service.api.route_table import RouteTable
from service.api.scopes import declare_public
from service.api.services import ServiceSet
from service.background import BackgroundTask, BackgroundTasks
from service.core.allocator import keep_freed_memory
from service.core.devices import available_devices
from service.flows import training
from service.flows.access import is_loopback
from service.flows.atlas import Atlases
from service.flows.deletion import Deletion
from service.flows.gate import Gate
from service.flows.heatmaps import Pictures
from service.flows.jobs import FOLLOW_SECONDS, JobBounds, Jobs
from service.flows.lanes import LaneName, Lanes
from service.flows.readiness import ReadinessProbe
from service.flows.rescue import Rescuer
from service.flows.summaries import Summaries
from service.flows.uploads import Uploads, upload_decoder
from service.flows.viewing import Viewer
from service.flows.vitals import vitals
from service.flows.workspace import Workspace
from service.folders import check_folder
from service.jobs import EXECUTORS
from service.settings import Settings
from service.store import schema
from service.store.room import Bounds
from service.store.store import Store
from service.store.tokens import READ
from service.web import page

RESOURCES = (
    runs_api,
    events,
    epochs,
    cams,
    atlas,
    scores,
    tables,
    pictures,
    report,
    evaluation,
    jobs,
    images,
    uploads,
    catalogue,
    session,
    audit,
    health,
    docs,
)
FRAMEWORK_ROUTES: dict[tuple[str, str], str | None] = {
    ("GET", "/openapi.json"): READ,
    ("GET", f"/{docs.ASSETS}/{{path:path}}"): READ,
}
"""Routes that FastAPI and fastapi-offline add, with the scope that each requires."""

MAX_BODY_BYTES = 1 * 2**20
MAX_CONCURRENT_UPLOADS = 32  # one is decoded, the others are received or wait; beyond it 503
READING_THREADS, CHANGING_THREADS, HEALTH_THREADS = 8, 8, 2
MAX_WAITING_READS = 1_000
RESCUE_SECONDS = 10.0
DELETION_SECONDS = 1.0
DELETION_CALL_SECONDS = 1.0

DESCRIPTION = """
Watch a convolutional network learn: train image classifiers, keep every epoch's checkpoint, and
look at Grad-CAM heatmaps of any (run, epoch, image, class, method). After S. Sakai and Y. Takenaka,
"Visualization of learning process for Convolution Neural Network", JSAI 2019.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The service's ASGI application. It opens its store when it starts, and closes it at the end.

    Its lifespan raises SchemaMismatch for a database that another version made.
    """
    settings = settings or Settings()
    logs.configure()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = open_services(settings)
        app.state.services = services
        training.pick_up(services.store, services.executor, services.workspace)
        services.background.add(_lease_monitor(services))
        services.background.add(_deletion(services))
        services.background.add(_job_monitor(services))
        services.background.start()
        yield
        _close(services)

    app = FastAPIOffline(
        docs_url=None,
        title="Camreel",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        # Relative to the schema's own address: a proxy may put the service below any path.
        servers=[{"url": settings.root_path or "."}],
        redirect_slashes=False,
        redoc_url=None,
    )
    problems.install(app)
    app.add_middleware(
        BodyLimits,
        most=MAX_BODY_BYTES,
        others={("POST", "/images"): settings.max_upload_bytes},
    )
    app.add_middleware(ContentETags)
    app.add_middleware(Departures)
    app.add_middleware(Ranges)
    routers = [resource.router for resource in RESOURCES]
    routers.append(declare_public(page.pages(first_asked)))
    for router in routers:
        app.include_router(router)
    app.state.routes = routes = RouteTable.of(routers, FRAMEWORK_ROUTES)
    app.add_middleware(Methods, routes=routes)
    protection.install(
        app,
        routes,
        Protection(
            bind=settings.host,
            allowed_hosts=settings.allowed_hosts,
            cors_origins=settings.cors_origins,
            rate_limit=settings.rate_limit,
            sign_in_limit=settings.sign_in_limit,
            log_requests=settings.log_requests,
            root_path=settings.root_path,
        ),
    )
    return app


def open_services(settings: Settings) -> ServiceSet:
    """What the endpoints call, on the settings' database, its schema made if it is empty."""
    keep_freed_memory()
    data_dir = settings.resolved_data_dir.absolute()
    workspace = Workspace(
        settings.database,
        settings.blobs,
        data_dir,
        lease_seconds=settings.lease_seconds,
        max_attempts=settings.max_attempts,
        bounds=Bounds(settings.quota_bytes, settings.min_free_bytes),
    )
    store = Store.open(workspace.database, workspace.blobs, workspace.bounds)
    schema.ensure(store)
    check_folder(data_dir, "CAMREEL_DATA_DIR")
    viewer = Viewer(store, workspace.data_dir, settings.memory_bytes)

    pictures = Pictures(viewer)
    slots = StreamSlots(settings.max_streams, settings.max_client_streams)
    lanes = _lanes(settings)
    job_bounds = JobBounds(settings.max_jobs, settings.job_seconds, settings.lease_seconds)
    jobs_of_store = Jobs(store, lanes[LaneName.BATCH], job_bounds)
    caches = viewer.caches | {"pictures": pictures.cache}
    executor = EXECUTORS[settings.executor](
        settings.max_parallel_runs, training.WORKER_IMPORTS, available_devices
    )
    background = BackgroundTasks()
    return ServiceSet(
        store,
        executor,
        workspace,
        viewer,
        pictures,
        Atlases(viewer),
        Summaries(viewer),
        EventHub(),
        slots,
        Metrics(lambda: vitals(store), caches, lambda: slots.count, lanes.loads),
        Gate(store, settings.auth == "auto" and is_loopback(settings.host)),
        Uploads(
            store,
            upload_decoder(settings.max_upload_pixels, settings.max_upload_bytes),
            settings.max_upload_pixels,
            timedelta(days=settings.upload_days),
        ),
        CapacityLimiter(MAX_CONCURRENT_UPLOADS),
        lanes,
        jobs_of_store,
        CapacityLimiter(HEALTH_THREADS),
        settings.max_queued_runs,
        background,
        ReadinessProbe(store, executor, background),
    )


def _close(services: ServiceSet) -> None:
    """End everything, each part whatever became of the others."""
    with ExitStack() as last_to_first:
        last_to_first.callback(services.store.close)
        last_to_first.callback(services.background.join)
        last_to_first.callback(services.executor.close)
        last_to_first.callback(services.jobs.close)
        last_to_first.callback(services.lanes.close)
        last_to_first.callback(services.uploads.close)
        services.background.request_stop()


def _lease_monitor(services: ServiceSet) -> BackgroundTask:
    rescuer = Rescuer(services.store, services.executor, services.workspace)
    # Often enough that a lost run goes on within two leases.
    interval_seconds = min(RESCUE_SECONDS, services.workspace.lease_seconds / 3)
    return BackgroundTask("lease-monitor", rescuer.look, interval_seconds=interval_seconds)


def _deletion(services: ServiceSet) -> BackgroundTask:
    deletion = Deletion(services.store)

    def free_some() -> None:
        # In short calls: one that returns is a sign of life.
        if not deletion.free(DELETION_CALL_SECONDS):
            task.wake()

    task = BackgroundTask("deletion", free_some, interval_seconds=DELETION_SECONDS)
    return task


def _lanes(settings: Settings) -> Lanes:
    waiting = settings.max_waiting_requests
    return Lanes(
        {
            LaneName.READING: (READING_THREADS, MAX_WAITING_READS),
            LaneName.CHANGES: (CHANGING_THREADS, MAX_WAITING_READS),
            LaneName.INTERACTIVE: (settings.interactive_threads, waiting),
            LaneName.BATCH: (settings.batch_threads, waiting),
        }
    )


def _job_monitor(services: ServiceSet) -> BackgroundTask:
    return BackgroundTask("jobs", services.jobs.scan, interval_seconds=FOLLOW_SECONDS)
