"""Heatmaps: one map as a picture, as JSON, as numbers."""

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
from service.api.work import ALL_EPOCHS, Description, Work, described_picture
from service.core.cams import DEFAULT_EPSILON
from service.core.cams.maps import Blank
from service.core.render.cells import Style
from service.flows.heatmaps import CamPicture, CamValues, ScaleName
from service.store.tokens import READ

router = APIRouter(prefix="/runs/{run_id}/epochs/{epoch}", tags=["heatmaps"])


class CamResponse(BaseModel):
    """One map's numbers, unscaled: equation 2, or its sum before ReLU for `style=signed`."""

    run_id: int
    epoch: int
    image: str
    class_index: int
    class_name: str
    label: int | None = Field(description="The image's own class.")
    method: str
    layer: str
    values: list[list[float | None]] = Field(
        description="H rows of W values; null where one is not finite."
    )
    peak: float | None = Field(
        description="Maximum of equation 2; null where the map is not finite."
    )
    minimum: float | None = Field(
        description="Minimum of its sum before ReLU; null where the map is not finite."
    )
    blank: Blank = Field(description="Why the map shows nothing, at the threshold `epsilon`.")
    epsilon: float
    scores: dict[str, float | None] = Field(
        description="Softmax's probability of each class; null where it is not finite."
    )


@router.get(
    "/cam",
    summary="A heatmap, as PNG",
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
    respond: Respond, run_id: RunId, epoch: EpochNumber, asked: CamQuery
) -> Response:
    """Where the network of this epoch looks for a class: Grad-CAM over the image."""
    pictures = respond.services.pictures

    def describe() -> Description:
        picture = pictures.cam(asked.query(run_id), epoch, asked.rendering(asked.size))
        return described_picture(
            pictures, picture, "image/png", headers=lambda: _map_headers(picture)
        )

    scale_maps = 1 if asked.scale is ScaleName.MAP else ALL_EPOCHS
    return await respond(Work("cam", describe, asked.method, [asked.method], scale_maps))


@router.get(
    "/cam.json",
    summary="A heatmap, as JSON",
    responses=RESPONSES,
    response_model=CamResponse,
)
@requires(READ)
async def read_cam_json(
    respond: Respond, run_id: RunId, epoch: EpochNumber, asked: CamQuery
) -> Response:
    """The same query's numbers: values, peak, minimum, blank cause, class scores."""

    def describe() -> Description:
        numbers = respond.services.pictures.cam_numbers(asked.query(run_id), epoch)
        return Description(
            "application/json",
            lambda: _numbers(numbers.compute(), asked.style).model_dump_json().encode(),
            f"{numbers.etag}-json-{asked.style}",
        )

    return await respond(Work("cam.json", describe, asked.method, [asked.method]))


def _numbers(values: CamValues, style: Style) -> CamResponse:
    subject, seen = values.subject, values.seen
    return CamResponse(
        run_id=subject.run.id,
        epoch=values.epoch,
        image=subject.image.reference,
        class_index=subject.class_index,
        class_name=subject.spec.source.class_names[subject.class_index],
        label=subject.image.label,
        method=subject.method,
        layer=subject.layer,
        values=[finite_or_none(row) for row in _values(values, style)],
        peak=finite_or_none([seen.peak])[0],
        minimum=finite_or_none([seen.minimum])[0],
        blank=seen.blank_cause(),
        epsilon=DEFAULT_EPSILON,
        scores=dict(zip(values.scores, finite_or_none(values.scores.values()), strict=True)),
    )


@router.get(
    "/cam.npy",
    summary="A heatmap, as a numpy array",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        **RESPONSES,
    },
)
@requires(READ)
async def read_cam_npy(
    respond: Respond, run_id: RunId, epoch: EpochNumber, asked: CamQuery
) -> Response:
    """float32 (H, W), unscaled; NaN and infinities stay where the map is not finite."""

    def describe() -> Description:
        numbers = respond.services.pictures.cam_numbers(asked.query(run_id), epoch)

        def save() -> bytes:
            out = io.BytesIO()
            np.save(out, _values(numbers.compute(), asked.style))
            return out.getvalue()

        etag = f"{numbers.etag}-npy-{asked.style}"
        return Description("application/octet-stream", save, etag)

    return await respond(Work("cam.npy", describe, asked.method, [asked.method]))


def _values(values: CamValues, style: Style) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return values.seen.signed if style is Style.SIGNED else values.seen.values


def _map_headers(picture: CamPicture) -> dict[str, str]:
    row = picture.row()
    peak = {"X-Cam-Peak": repr(row.peak)} if math.isfinite(row.peak) else {}
    return peak | {"X-Cam-Blank": row.blank}
