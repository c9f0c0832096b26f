"""Strips, contact sheets, and the table of blank maps."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from service.api.expensive import RESPONSES, Respond, Responder
from service.api.map_parameters import AnimationQuery, BlankQuery, SheetQuery, StripQuery
from service.api.pagination import RunId
from service.api.scopes import requires
from service.api.work import ExpensiveRequest, Representation
from service.core.cams.methods import PAPER_METHODS
from service.flows.maps.blanks import BlankTable, blanks
from service.flows.maps.deferred import Deferred
from service.flows.maps.pictures import Picture
from service.store.tokens import READ

router = APIRouter(prefix="/runs/{run_id}", tags=["heatmaps"])


class BlankCountResponse(BaseModel):
    """Numbers of maps and of blank maps by cause."""

    total: int
    blank: int
    by_cause: dict[str, int]


class EpochBlanks(BaseModel):
    """Counts of one epoch."""

    epoch: int
    methods: dict[str, BlankCountResponse]


class BlanksResponse(BaseModel):
    """Blank maps of the run's probes, for their labels, at the default layer."""

    epsilon: float = Field(description="A map is blank if its peak does not exceed this.")
    methods: dict[str, BlankCountResponse]
    per_epoch: list[EpochBlanks]
    quarantined_epochs: list[int] = Field(
        description="Requested epochs that are not counted: their checkpoints are damaged."
    )


def _binary(media_type: str) -> dict[int | str, dict[str, Any]]:
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {200: {"content": {media_type: schema}}, **RESPONSES}


async def _answer(
    respond: Responder,
    kind: str,
    method: str,
    media_type: str,
    picture: Callable[[], Deferred[Picture]],
) -> Response:
    def represent() -> Representation[Picture]:
        return Representation(picture(), media_type, lambda value: value.content)

    return await respond(ExpensiveRequest(kind, represent, method))


async def _animation(
    respond: Responder, run_id: int, query: AnimationQuery, file_format: str
) -> Response:
    def represent() -> Representation[Picture]:
        picture = respond.services.pictures.animation(
            query.queries(run_id),
            query.epochs,
            query.rendering(query.size),
            file_format,
            has_curve=query.curve,
        )
        return Representation(picture, f"image/{file_format}", lambda value: value.content)

    kind = f"strip.{file_format}"
    return await respond(ExpensiveRequest(kind, represent, methods=query.method))


@router.get(
    "/strip",
    summary="Strip of one image over epochs, as PNG",
    response_class=Response,
    responses=_binary("image/png"),
)
@requires(READ)
async def read_strip(respond: Respond, run_id: RunId, query: StripQuery) -> Response:
    """One cell per epoch."""

    def picture() -> Deferred[Picture]:
        rendering = query.rendering(query.size)
        return respond.services.pictures.strip(query.query(run_id), query.epochs, rendering)

    return await _answer(respond, "strip", query.method, "image/png", picture)


@router.get(
    "/strip.webp",
    summary="Strip of one image over epochs, as animated WebP",
    response_class=Response,
    responses=_binary("image/webp"),
)
@requires(READ)
async def read_strip_webp(respond: Respond, run_id: RunId, query: AnimationQuery) -> Response:
    """One frame per epoch: methods side by side, and the accuracies below."""
    return await _animation(respond, run_id, query, "webp")


@router.get(
    "/strip.gif",
    summary="Strip of one image over epochs, as animated GIF",
    response_class=Response,
    responses=_binary("image/gif"),
)
@requires(READ)
async def read_strip_gif(respond: Respond, run_id: RunId, query: AnimationQuery) -> Response:
    """One frame per epoch: methods side by side, and the accuracies below."""
    return await _animation(respond, run_id, query, "gif")


@router.get(
    "/strip.npz",
    summary="Maps of one image over epochs, as NumPy arrays",
    response_class=Response,
    responses=_binary("application/octet-stream"),
)
@requires(READ)
async def read_strip_npz(respond: Respond, run_id: RunId, query: StripQuery) -> Response:
    """`maps` and `signed` (before ReLU), float32 (E, H, W), unscaled; `epochs` int (E,)."""

    def picture() -> Deferred[Picture]:
        return respond.services.pictures.strip_arrays(query.query(run_id), query.epochs)

    return await _answer(respond, "strip.npz", query.method, "application/octet-stream", picture)


@router.get(
    "/sheet",
    summary="Contact sheet of all probes over epochs, as PNG",
    response_class=Response,
    responses=_binary("image/png"),
)
@requires(READ)
async def read_sheet(respond: Respond, run_id: RunId, query: SheetQuery) -> Response:
    """Figures 6 and 7 of the paper: a row per probe, a column per epoch, blank cells hatched."""

    def picture() -> Deferred[Picture]:
        rendering = query.rendering(query.size)
        return respond.services.pictures.sheet(query.query(run_id), query.epochs, rendering)

    return await _answer(respond, "sheet", query.method, "image/png", picture)


@router.get(
    "/blanks",
    summary="Blank maps by cause",
    responses=RESPONSES,
    response_model=BlanksResponse,
)
@requires(READ)
async def read_blanks(respond: Respond, run_id: RunId, query: BlankQuery) -> Response:
    """Counted from maps recorded during training. Other methods are computed once."""
    services = respond.services
    methods = query.method or PAPER_METHODS

    def represent() -> Representation[BlankTable]:
        return Representation(
            blanks(services.pipeline, run_id, query.epochs, query.epsilon, methods),
            "application/json",
            lambda table: _blanks(table).model_dump_json().encode(),
            cache=services.answers,
        )

    return await respond(ExpensiveRequest("blanks", represent, methods=methods))


def _blanks(table: BlankTable) -> BlanksResponse:
    per_epoch = [
        {"epoch": epoch, "methods": {name: vars(count) for name, count in methods.items()}}
        for epoch, methods in table.per_epoch.items()
    ]
    return BlanksResponse.model_validate(
        {
            "epsilon": table.epsilon,
            "methods": {name: vars(count) for name, count in table.methods.items()},
            "per_epoch": per_epoch,
            "quarantined_epochs": table.quarantined,
        }
    )
