"""Input images."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from service.api.caching import conditional, content_etag
from service.api.pagination import Page, RunId
from service.api.scopes import requires
from service.api.services import Services
from service.core.datasets import DATASETS
from service.core.images import from_png, tile_images, to_png
from service.errors import ImageNotFound
from service.flows.identity import identity_of
from service.flows.maps.deferred import Deferred, Result
from service.flows.maps.pictures import Picture
from service.store import images, runs
from service.store.tokens import READ

router = APIRouter(tags=["images"])

PROBES_PER_ROW = 32


class ProbeResponse(BaseModel):
    """A probe: an image whose maps a run records."""

    image: str = Field(description="Image reference.", examples=["test:7"])
    label: int | None = Field(description="Class index of its label.")


@router.get("/runs/{run_id}/probes", summary="List the probes of a run")
@requires(READ)
def list_probes(services: Services, run_id: RunId) -> Page[ProbeResponse]:
    """In the order of a contact sheet's rows; empty until the worker has loaded the dataset."""
    with services.store.read_session() as session:
        probes = images.list_probes(session, run_id)
        if not probes:
            runs.get(session, run_id)
    items = [ProbeResponse(image=image.reference, label=image.label) for image in probes]
    return Page(items=items, next=None)


@router.get(
    "/runs/{run_id}/probes.png",
    summary="Probes of a run in one PNG",
    response_class=Response,
    responses={200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}},
)
@requires(READ)
def read_probes(services: Services, request: Request, run_id: RunId) -> Response:
    """Lossless, 32 per row: probe i, counted from 0, is at column i % 32 of row i // 32."""
    with services.store.read_session() as session:
        probes = images.list_probes(session, run_id)
        if not probes:
            runs.get(session, run_id)
            raise ImageNotFound("of its own", f"run {run_id} has no probes yet")

    def tile() -> Result[Picture]:
        pixels = [from_png(image.png) for image in probes]
        return Result(identity, Picture(to_png(tile_images(pixels, PROBES_PER_ROW))))

    identity = identity_of("probes", [image.sha256 for image in probes])
    picture = Deferred(identity, tile, cache=services.pictures.cache)
    return conditional(request, identity, lambda: picture.compute().value.content, "image/png")


@router.get(
    "/images/{reference}",
    summary="Input image as PNG",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
@requires(READ)
def read_image(
    services: Services,
    request: Request,
    reference: Annotated[
        str, Path(max_length=100, description="`test:7` or `train:12`.", examples=["test:7"])
    ],
    dataset: Annotated[
        str, Query(max_length=64, json_schema_extra={"enum": list(DATASETS)})
    ] = "mnist",
) -> Response:
    """Lossless, at the size of the dataset's images."""
    image = services.pipeline.images.get(dataset, reference)
    return conditional(request, content_etag(image.png), lambda: image.png, "image/png")


@router.get(
    "/runs/{run_id}/images/{reference}",
    summary="Image as a run's network sees it",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
@requires(READ)
def read_seen_image(
    services: Services,
    request: Request,
    run_id: RunId,
    reference: Annotated[
        str, Path(max_length=100, description="`test:7` or `train:12`.", examples=["test:7"])
    ],
) -> Response:
    """Lossless: resized and cropped as the run's `input` states, before normalization."""
    run = services.pipeline.resolver.resolve_run(run_id)
    image = services.pipeline.images.get_seen(run, reference)
    return conditional(request, content_etag(image.png), lambda: image.png, "image/png")
