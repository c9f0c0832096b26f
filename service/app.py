"""The ASGI application: lifespan, routes, middleware."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from service import __version__, logs
from service.api import problems
from service.api.middleware import stack
from service.api.preload_hints import preload_hints
from service.api.resources import (
    atlas,
    audit,
    cams,
    catalogue,
    csv_exports,
    dataset_uploads,
    datasets,
    divergence,
    docs,
    epochs,
    evaluation,
    events,
    experiment_results,
    experiments,
    findings,
    health,
    image_uploads,
    images,
    insights,
    jobs,
    networks,
    pictures,
    recordings,
    report,
    run_networks,
    scores,
    session,
    tensors,
)
from service.api.resources import runs as runs_api
from service.api.route_table import RouteTable
from service.api.scopes import declare_public
from service.api.security_schema import add_security_schemes
from service.api.services import open_services
from service.api.sharing import Sharing, Unshared
from service.core.cams.methods import PAPER_METHODS
from service.settings import Settings
from service.store.tokens import READ
from service.web.page import page_router

RESOURCES = (
    health,  # first, because the router tries them in turn
    runs_api,
    run_networks,
    recordings,
    networks,
    tensors,
    divergence,
    experiments,
    experiment_results,
    events,
    epochs,
    cams,
    atlas,
    scores,
    csv_exports,
    insights,
    pictures,
    report,
    evaluation,
    findings,
    jobs,
    images,
    image_uploads,
    catalogue,
    datasets,
    dataset_uploads,
    session,
    audit,
    docs,
)
FRAMEWORK_ROUTES: dict[tuple[str, str], str | None] = {
    ("GET", "/openapi.json"): READ,
    ("GET", f"/{docs.ASSETS}/{{path:path}}"): READ,
}
"""Routes that FastAPI and fastapi-offline add, with the scope that each requires."""

DESCRIPTION = """
Watch a convolutional network learn: train image classifiers, keep every epoch's checkpoint, and
look at Grad-CAM heatmaps of any (run, epoch, image, class, method). After S. Sakai and Y. Takenaka,
"Visualization of learning process for Convolution Neural Network", JSAI 2019.
"""


def create_app(settings: Settings | None = None, sharing: Sharing | None = None) -> FastAPI:
    """The service's ASGI application. It opens its store when it starts, and closes it at the end.

    `sharing` connects it with the other processes of a service that has several.
    Its lifespan raises SchemaMismatch for a database that another version made.
    """
    settings = settings or Settings()
    if sharing is None:
        # The only process, whatever the settings are of a server that it is not started by.
        settings, sharing = settings.model_copy(update={"workers": 1}), Unshared()
    logs.configure()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = open_services(settings, sharing)
        app.state.services = services
        services.start()
        yield
        services.close()

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
    routers = [resource.router for resource in RESOURCES]
    routers.append(declare_public(page_router(preload_hints, PAPER_METHODS)))
    for router in routers:
        app.include_router(router)
    app.state.routes = routes = RouteTable.of(routers, FRAMEWORK_ROUTES)
    stack.install(app, routes, settings, sharing)
    add_security_schemes(app, routes)
    return app
