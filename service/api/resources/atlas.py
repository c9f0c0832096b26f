"""Atlases: hundreds of maps in one response, as an image of levels with a layout."""

import gzip
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from service.api.content_negotiation import accepts_gzip, negotiate_media_type
from service.api.expensive import RESPONSES, Respond, Responder
from service.api.map_parameters import Epochs, Text
from service.api.numbers import finite_or_none
from service.api.pagination import RunId
from service.api.scopes import requires
from service.api.work import ExpensiveRequest, Representation
from service.core.cams import DEFAULT_EPSILON
from service.core.cams.maps import Blank
from service.core.cams.methods import PAPER_METHODS
from service.core.render.atlas import MAX_SIDE, atlas_png
from service.flows.maps.atlas import MAX_CELLS, Atlas, AtlasQuery, AtlasRows
from service.store.tokens import READ

router = APIRouter(prefix="/runs/{run_id}", tags=["heatmaps"])

PNG, JSON, LEVELS = "image/png", "application/json", "application/octet-stream"

GZIP_LEVEL = 4

ATLAS_DESCRIPTION = f"""
An 8-bit grayscale PNG with E columns, one per epoch, and M x R rows: R rows for each of M methods.
The cell of (method m, row r, epoch e), counted from 0 in the order of the layout, has
`cell.width` x `cell.height` pixels at x = e * `cell.width`, y = (m * R + r) * `cell.height`. With
`Accept: application/json` the same URL returns the layout.

The pixels of a cell are the quantized values of its map at their own resolution. With
low = `minimum` and high = `peak` of the cell (index (m * R + r) * E + e in those arrays):

* low < 0 < high: level 128 is 0; a level L >= 128 is (L - 128) / 127 * high, one below is
  (128 - L) / 128 * low;
* a map with non-finite values has `blank` `not-finite`, `minimum` and `peak` null, and level 0;
* otherwise a level L is low + L / 255 * (high - low); a constant map is level 0.

The error of a value is at most half a level, so that a client can draw every style and scale, and
count blank maps at every threshold: a map is blank if its `peak` does not exceed it. Maps with a
side longer than {MAX_SIDE} are averaged over square blocks. At most {MAX_CELLS:,} cells.
"""


class AtlasParameters(BaseModel):
    """Methods, rows and epochs of an atlas."""

    model_config = ConfigDict(extra="forbid")

    method: list[Text] = Field(
        list(PAPER_METHODS),
        min_length=1,
        max_length=4,
        description="Methods, as in `layer-cam` or `layer-cam/centered`; repeatable. All use the "
        "same layer. Default: the two that every run records.",
    )
    rows: AtlasRows = Field(
        AtlasRows.PROBES,
        description="`probes`: each probe of the run in order, or only `image`, for its label or "
        "`class`. `classes`: each class for `image`, or for the first probe. A class that a method "
        "contrasts the others with, as `grad-cam/contrast:3` does, has no rows.",
    )
    image: Text | None = Field(None, description="`test:7` or `train:12`.")
    class_name: Text | None = Field(None, alias="class", description="Index or name.")
    layer: Text | None = Field(
        None, description="As for a single map. Default: the last convolutional stage."
    )
    epochs: Epochs = "0:"

    def query(self, run_id: int) -> AtlasQuery:
        """The query of these parameters."""
        return AtlasQuery(
            run_id, self.method, self.rows, self.image, self.class_name, self.layer, self.epochs
        )


class Size(BaseModel):
    """A size in pixels."""

    width: int
    height: int


class AtlasRow(BaseModel):
    """The image and class of a row."""

    image: str = Field(examples=["test:7"])
    class_index: int
    class_name: str
    label: int | None = Field(description="Label of the image.")


class PlacementResponse(BaseModel):
    """Column or row i of a cell is centered at the image coordinate `first` + `step` * i.

    The same for both axes. The center of pixel 0 is 0: an image spans -0.5 to its side - 0.5.
    """

    first: float
    step: float


class AtlasLayout(BaseModel):
    """Content of the cells. The arrays are flat, ordered by method, row, epoch."""

    run_id: int
    layer: str
    methods: list[str] = Field(description="M methods.")
    epochs: list[int] = Field(description="E epochs.")
    quarantined_epochs: list[int] = Field(
        description="Requested epochs without cells, because their checkpoints are damaged."
    )
    rows: list[AtlasRow] = Field(description="R rows.")
    cell: Size
    image: Size
    placement: PlacementResponse
    default_epsilon: float = Field(description="Threshold of `blank`.")
    minimum: list[float | None] = Field(
        description="Minimum before ReLU, M x R x E values; null if not finite."
    )
    peak: list[float | None] = Field(
        description="Maximum of equation 2, M x R x E values; null if not finite."
    )
    blank: list[Blank] = Field(description="Cause of a blank map, M x R x E values.")


@router.get(
    "/atlas",
    summary="Many maps in one image, with their layout",
    description=ATLAS_DESCRIPTION,
    response_class=Response,
    responses={
        200: {
            "model": AtlasLayout,
            "content": {PNG: {"schema": {"type": "string", "format": "binary"}}},
            "headers": {
                "ETag": {"schema": {"type": "string"}},
                "Vary": {"schema": {"type": "string", "const": "Accept"}},
            },
        },
        **RESPONSES,
    },
)
@requires(READ)
async def read_atlas(
    respond: Respond,
    run_id: RunId,
    parameters: Annotated[AtlasParameters, Query()],
) -> Response:
    """See ATLAS_DESCRIPTION."""
    media_type = negotiate_media_type(respond.request.headers.get("accept", ""), (PNG, JSON))
    return await _reply(respond, run_id, parameters, media_type, {"Vary": "Accept"})


@router.get(
    "/atlas.json",
    summary="Layout of an atlas",
    responses=RESPONSES,
    response_model=AtlasLayout,
)
@requires(READ)
async def read_atlas_layout(
    respond: Respond,
    run_id: RunId,
    parameters: Annotated[AtlasParameters, Query()],
) -> Response:
    """As `/atlas` with `Accept: application/json`, under its own URL.

    Browsers cache one response per URL. With two URLs, image and layout are requested in parallel
    and both are cached.
    """
    return await _reply(respond, run_id, parameters, JSON, {})


@router.get(
    "/atlas.bin",
    summary="Levels of an atlas, as bytes",
    response_class=Response,
    responses={
        200: {"content": {LEVELS: {"schema": {"type": "string", "format": "binary"}}}},
        **RESPONSES,
    },
)
@requires(READ)
async def read_atlas_levels(
    respond: Respond,
    run_id: RunId,
    parameters: Annotated[AtlasParameters, Query()],
) -> Response:
    """Cells in the order of the layout's arrays, (m * R + r) * E + e, each row by row.

    The same levels as in the PNG, without the need to decode an image. Compressed if the client
    accepts gzip.
    """
    return await _reply(respond, run_id, parameters, LEVELS, {"Vary": "Accept-Encoding"})


async def _reply(
    respond: Responder,
    run_id: int,
    parameters: AtlasParameters,
    media_type: str,
    fixed_headers: dict[str, str],
) -> Response:
    services = respond.services
    # Levels compress to half; a PNG is compressed by itself, and a layout is small.
    is_gzipped = media_type == LEVELS and accepts_gzip(respond.request)
    coding = "gzip" if is_gzipped else "identity"

    def encode(atlas: Atlas) -> bytes:
        content = ENCODERS[media_type](atlas)
        return gzip.compress(content, GZIP_LEVEL, mtime=0) if is_gzipped else content

    def represent() -> Representation[Atlas]:
        return Representation(
            services.atlases.atlas(parameters.query(run_id)),
            media_type,
            encode,
            f"{media_type.split('/')[1]}-{coding}",
            headers=lambda _: {"Content-Encoding": coding} if is_gzipped else {},
            fixed_headers=fixed_headers,
            cache=services.answers,
        )

    methods = parameters.method
    return await respond(ExpensiveRequest("atlas", represent, methods[0], methods))


def _png(atlas: Atlas) -> bytes:
    methods, rows, *cells = atlas.levels.shape
    return atlas_png(atlas.levels.reshape(methods * rows, *cells))


def _levels(atlas: Atlas) -> bytes:
    return atlas.levels.tobytes()


def _layout(atlas: Atlas) -> bytes:
    layout = atlas.layout
    _, image_height, image_width = layout.rows[0].run.image_shape
    response = AtlasLayout.model_validate(
        {
            "run_id": layout.selection.run_id,
            "layer": layout.rows[0].layer,
            "methods": layout.methods,
            "epochs": layout.selection.numbers,
            "quarantined_epochs": layout.selection.quarantined,
            "rows": [
                {
                    "image": row.image.reference,
                    "class_index": row.class_index,
                    "class_name": row.class_label,
                    "label": row.image.label,
                }
                for row in layout.rows
            ],
            "cell": {"height": layout.cell_shape[0], "width": layout.cell_shape[1]},
            "image": {"height": image_height, "width": image_width},
            "placement": {
                "first": layout.placement.first_center,
                "step": layout.placement.step,
            },
            "default_epsilon": DEFAULT_EPSILON,
            "minimum": finite_or_none(atlas.minimum.ravel()),
            "peak": finite_or_none(atlas.peak.ravel()),
            "blank": atlas.blank.ravel().tolist(),
        }
    )
    return response.model_dump_json().encode()


ENCODERS = {PNG: _png, JSON: _layout, LEVELS: _levels}
