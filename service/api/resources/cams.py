"""A single map as PNG, JSON or NumPy array."""

import io
import math

import numpy as np
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from service.api.expensive import RESPONSES, Respond
from service.api.map_parameters import CamQuery
from service.api.numbers import finite_or_none
from service.api.pagination import EpochNumber, RunId
from service.api.scopes import requires
from service.api.work import ALL_EPOCHS, ExpensiveRequest, Representation
from service.core.cams import DEFAULT_EPSILON
from service.core.cams.maps import Blank
from service.core.render.cells import Style
from service.flows.maps.pictures import MapValues, Picture
from service.flows.maps.scales import ScaleName
from service.store.tokens import READ

router = APIRouter(prefix="/runs/{run_id}/epochs/{epoch}", tags=["heatmaps"])


class CamResponse(BaseModel):
    """A map, unscaled: equation 2, or the sum before ReLU for `style=signed`."""

    run_id: int
    epoch: int
    image: str
    class_index: int
    class_name: str
    label: int | None = Field(description="Label of the image.")
    method: str
    layer: str
    values: list[list[float | None]] = Field(description="H rows of W values; null if not finite.")
    peak: float | None = Field(description="Maximum of equation 2; null if the map is not finite.")
    minimum: float | None = Field(description="Minimum before ReLU; null if the map is not finite.")
    blank: Blank = Field(description="Cause of a blank map, at the threshold `epsilon`.")
    epsilon: float
    scores: dict[str, float | None] = Field(
        description="Softmax probability of each class; null if not finite."
    )


@router.get(
    "/cam",
    summary="Map as PNG",
    response_class=Response,
    responses={
        200: {
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
            "headers": {
                "ETag": {"schema": {"type": "string"}},
                "X-Cam-Peak": {
                    "description": "Absent where the map is not finite.",
                    "schema": {"type": "number"},
                },
                "X-Cam-Blank": {
                    "schema": {"type": "string", "enum": [cause.value for cause in Blank]}
                },
            },
        },
        **RESPONSES,
    },
)
@requires(READ)
async def read_cam(
    respond: Respond, run_id: RunId, epoch: EpochNumber, query: CamQuery
) -> Response:
    """A heatmap of the regions that support the class at this epoch."""
    pictures = respond.services.pictures

    def represent() -> Representation[Picture]:
        deferred = pictures.cam(query.query(run_id), epoch, query.rendering(query.size))
        return Representation(
            deferred, "image/png", lambda picture: picture.content, headers=_map_headers
        )

    scale_maps = 1 if query.scale in (None, ScaleName.MAP) else ALL_EPOCHS
    return await respond(
        ExpensiveRequest("cam", represent, query.method, [query.method], scale_maps)
    )


@router.get(
    "/cam.json",
    summary="Map as JSON",
    responses=RESPONSES,
    response_model=CamResponse,
)
@requires(READ)
async def read_cam_json(
    respond: Respond, run_id: RunId, epoch: EpochNumber, query: CamQuery
) -> Response:
    """Values, peak, minimum, cause of blankness and class scores."""

    def represent() -> Representation[MapValues]:
        return Representation(
            respond.services.pictures.cam_values(query.query(run_id), epoch),
            "application/json",
            lambda values: _response(values, query.style).model_dump_json().encode(),
            f"json-{query.style}",
        )

    return await respond(ExpensiveRequest("cam.json", represent, query.method, [query.method]))


@router.get(
    "/cam.npy",
    summary="Map as NumPy array",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        **RESPONSES,
    },
)
@requires(READ)
async def read_cam_npy(
    respond: Respond, run_id: RunId, epoch: EpochNumber, query: CamQuery
) -> Response:
    """float32 (H, W), unscaled; may contain NaN and infinities."""

    def save(values: MapValues) -> bytes:
        file = io.BytesIO()
        np.save(file, _array(values, query.style))
        return file.getvalue()

    def represent() -> Representation[MapValues]:
        deferred = respond.services.pictures.cam_values(query.query(run_id), epoch)
        return Representation(deferred, "application/octet-stream", save, f"npy-{query.style}")

    return await respond(ExpensiveRequest("cam.npy", represent, query.method, [query.method]))


def _response(values: MapValues, style: Style) -> CamResponse:
    request, class_map = values.request, values.class_map
    series = request.series
    return CamResponse(
        run_id=series.run_id,
        epoch=request.epoch.epoch,
        image=series.image.reference,
        class_index=request.class_index,
        class_name=series.run.class_names[request.class_index],
        label=series.image.label,
        method=series.method_text,
        layer=series.layer,
        values=[finite_or_none(row) for row in _array(values, style)],
        peak=finite_or_none([class_map.peak])[0],
        minimum=finite_or_none([class_map.minimum])[0],
        blank=class_map.blank_cause(),
        epsilon=DEFAULT_EPSILON,
        scores=dict(zip(values.scores, finite_or_none(values.scores.values()), strict=True)),
    )


def _array(values: MapValues, style: Style) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    class_map = values.class_map
    return class_map.signed if style is Style.SIGNED else class_map.values


def _map_headers(picture: Picture) -> dict[str, str]:
    headers = {}
    if picture.peak is not None and math.isfinite(picture.peak):
        headers["X-Cam-Peak"] = repr(picture.peak)
    if picture.blank_cause is not None:
        headers["X-Cam-Blank"] = picture.blank_cause.value
    return headers
