"""Pictures of many maps: strips and sheets. And the table of blank ones."""

from dataclasses import asdict

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from service.api.caching import conditional
from service.api.map_parameters import BlankQuery, SheetQuery, StripQuery
from service.api.pages import RunId
from service.api.quarantine import quarantine_header, without_bad_epochs
from service.api.services import Services, ServiceSet
from service.core.cams.methods import PAPER_METHODS
from service.flows.blanks import BlankTable, blanks
from service.flows.heatmaps import Picture

router = APIRouter(prefix="/runs/{run_id}", tags=["heatmaps"])


class BlankCountAnswer(BaseModel):
    """How many of some maps are blank, and why."""

    total: int
    blank: int
    by_cause: dict[str, int]


class EpochBlanks(BaseModel):
    """One epoch's."""

    epoch: int
    methods: dict[str, BlankCountAnswer]


class BlanksAnswer(BaseModel):
    """Blank maps of the run's probes, each for its own label, at the default layer."""

    epsilon: float = Field(description="A map is blank whose peak is at most this.")
    methods: dict[str, BlankCountAnswer]
    per_epoch: list[EpochBlanks]
    quarantined: list[int] = Field(
        description="Epochs that were asked for and are not counted: their checkpoints are bad."
    )


def _binary(media_type: str) -> dict[int | str, dict[str, object]]:
    return {200: {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}}


def _answer(
    services: ServiceSet, request: Request, picture: Picture, kind: str, method: str, media: str
) -> Response:
    def draw() -> bytes:
        with services.metrics.picture_seconds.labels(kind, method).time():
            return picture.draw()

    told = quarantine_header(picture.quarantined)
    return conditional(request, picture.etag, draw, media, extra=lambda: told)


@router.get(
    "/strip",
    summary="One image over the epochs, as PNG",
    response_class=Response,
    responses=_binary("image/png"),
)
@without_bad_epochs
def read_strip(services: Services, request: Request, run_id: RunId, asked: StripQuery) -> Response:
    """One cell an epoch."""
    return _strip(services, request, run_id, asked, "png", "image/png")


@router.get(
    "/strip.webp",
    summary="One image over the epochs, animated WebP",
    response_class=Response,
    responses=_binary("image/webp"),
)
@without_bad_epochs
def read_strip_webp(
    services: Services, request: Request, run_id: RunId, asked: StripQuery
) -> Response:
    """One frame an epoch."""
    return _strip(services, request, run_id, asked, "webp", "image/webp")


@router.get(
    "/strip.gif",
    summary="One image over the epochs, animated GIF",
    response_class=Response,
    responses=_binary("image/gif"),
)
@without_bad_epochs
def read_strip_gif(
    services: Services, request: Request, run_id: RunId, asked: StripQuery
) -> Response:
    """One frame an epoch."""
    return _strip(services, request, run_id, asked, "gif", "image/gif")


@router.get(
    "/strip.npz",
    summary="One image over the epochs, as numpy arrays",
    response_class=Response,
    responses=_binary("application/octet-stream"),
)
@without_bad_epochs
def read_strip_npz(
    services: Services, request: Request, run_id: RunId, asked: StripQuery
) -> Response:
    """`maps` and `signed` (before ReLU), float32 (E, H, W), unscaled; `epochs` int (E,)."""
    picture = services.pictures.strip_npz(asked.query(run_id), asked.epochs)
    media = "application/octet-stream"
    return _answer(services, request, picture, "strip.npz", asked.method, media)


@router.get(
    "/sheet",
    summary="All probes over the epochs, as PNG",
    response_class=Response,
    responses=_binary("image/png"),
)
@without_bad_epochs
def read_sheet(services: Services, request: Request, run_id: RunId, asked: SheetQuery) -> Response:
    """The paper's figures 6 and 7: rows probes, columns epochs, blank cells hatched."""
    rendering = asked.rendering(asked.size)
    picture = services.pictures.sheet(asked.query(run_id), asked.epochs, rendering)
    return _answer(services, request, picture, "sheet", asked.method, "image/png")


@router.get(
    "/blanks",
    summary="How many maps show nothing, and why",
    responses={304: {"description": "The client has it already."}},
    response_model=BlanksAnswer,
)
@without_bad_epochs
def read_blanks(services: Services, request: Request, run_id: RunId, asked: BlankQuery) -> Response:
    """Counted from what was recorded while the run trained; other methods are computed once."""
    methods = asked.method or PAPER_METHODS
    counting = blanks(services.viewer, run_id, asked.epochs, asked.epsilon, methods)

    def count() -> bytes:
        return _blanks(counting.table()).model_dump_json().encode()

    return conditional(
        request,
        counting.etag,
        lambda: services.pictures.cache.get_or_make(f"blanks {counting.etag}", count),
        "application/json",
    )


def _blanks(table: BlankTable) -> BlanksAnswer:
    per_epoch = [
        {"epoch": epoch, "methods": {name: asdict(count) for name, count in methods.items()}}
        for epoch, methods in table.per_epoch.items()
    ]
    return BlanksAnswer.model_validate(
        {
            "epsilon": table.epsilon,
            "methods": {name: asdict(count) for name, count in table.methods.items()},
            "per_epoch": per_epoch,
            "quarantined": table.quarantined,
        }
    )


def _strip(
    services: ServiceSet, request: Request, run_id: int, asked: StripQuery, kind: str, media: str
) -> Response:
    rendering = asked.rendering(asked.size)
    picture = services.pictures.strip(asked.query(run_id), asked.epochs, rendering, kind)
    return _answer(services, request, picture, f"strip.{kind}", asked.method, media)
