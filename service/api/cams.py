"""Heatmaps: one map as a picture, as JSON, as numbers."""

import io

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from service.api.caching import IMMUTABLE, conditional
from service.api.map_parameters import CamQuery
from service.api.pages import EpochNumber, RunId
from service.api.services import Services
from service.core.cams.blank import DEFAULT_EPSILON, Blank
from service.core.render.cells import Style
from service.flows.heatmaps import CamPicture, CamValues

router = APIRouter(prefix="/runs/{run_id}/epochs/{epoch}", tags=["heatmaps"])


class CamAnswer(BaseModel):
    """One map's numbers, unscaled: equation 2, or its sum before ReLU for `style=signed`."""

    run: int
    epoch: int
    image: str
    class_index: int
    class_name: str
    label: int | None = Field(description="The image's own class.")
    method: str
    layer: str
    values: list[list[float]] = Field(description="H rows of W values.")
    peak: float = Field(description="Maximum of equation 2.")
    min: float = Field(description="Minimum of its sum before ReLU.")
    blank: Blank = Field(description="Why the map shows nothing, at the threshold `epsilon`.")
    epsilon: float
    scores: dict[str, float] = Field(description="Softmax's probability of each class.")


@router.get(
    "/cam",
    summary="A heatmap, as PNG",
    response_class=Response,
    responses={
        200: {
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
            "headers": {
                "ETag": {"schema": {"type": "string"}},
                "X-Cam-Peak": {"schema": {"type": "number"}},
                "X-Cam-Blank": {
                    "schema": {"type": "string", "enum": [cause.value for cause in Blank]}
                },
            },
        },
        304: {"description": "The client has it already."},
    },
)
def read_cam(
    services: Services, request: Request, run_id: RunId, epoch: EpochNumber, asked: CamQuery
) -> Response:
    """Where the network of this epoch looks for a class: Grad-CAM over the image."""
    picture = services.pictures.cam(asked.query(run_id), epoch, asked.rendering(asked.size))

    def draw() -> bytes:
        with services.metrics.picture_seconds.labels("cam", asked.method).time():
            return picture.draw()

    return conditional(
        request,
        picture.etag,
        draw,
        "image/png",
        immutable=picture.immutable,
        extra=lambda: _map_headers(picture),
    )


@router.get("/cam.json", summary="A heatmap, as JSON")
def read_cam_json(
    services: Services, run_id: RunId, epoch: EpochNumber, asked: CamQuery
) -> CamAnswer:
    """The same query's numbers: values, peak, minimum, blank cause, class scores."""
    found = services.pictures.cam_values(asked.query(run_id), epoch)
    subject, seen = found.subject, found.seen
    return CamAnswer(
        run=run_id,
        epoch=epoch,
        image=subject.image.reference,
        class_index=subject.class_index,
        class_name=subject.spec.source.class_names[subject.class_index],
        label=subject.image.label,
        method=subject.method,
        layer=subject.layer,
        values=_values(found, asked.style).tolist(),
        peak=seen.peak,
        min=seen.minimum,
        blank=seen.blank(),
        epsilon=DEFAULT_EPSILON,
        scores=found.scores,
    )


@router.get(
    "/cam.npy",
    summary="A heatmap, as a numpy array",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
def read_cam_npy(
    services: Services, run_id: RunId, epoch: EpochNumber, asked: CamQuery
) -> Response:
    """float32 (H, W), unscaled."""
    out = io.BytesIO()
    np.save(out, _values(services.pictures.cam_values(asked.query(run_id), epoch), asked.style))
    return Response(
        out.getvalue(),
        media_type="application/octet-stream",
        headers={"Cache-Control": IMMUTABLE, "X-Content-Type-Options": "nosniff"},
    )


def _values(found: CamValues, style: Style) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return found.seen.signed if style is Style.SIGNED else found.seen.values


def _map_headers(picture: CamPicture) -> dict[str, str]:
    row = picture.row()
    return {"X-Cam-Peak": repr(row.peak), "X-Cam-Blank": row.blank}
