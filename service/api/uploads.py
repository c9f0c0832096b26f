"""`POST /images`: images of the client's own."""

from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, HTTPException, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from service.api.idempotency import REPLAYED, Key, request_key, tell_replayed
from service.api.services import Services
from service.core.datasets import DATASETS
from service.errors import InvalidValue
from service.store.uploads import Upload

router = APIRouter(tags=["images"])

PICTURES = ("image/png", "image/jpeg")
_BINARY = {"type": "string", "format": "binary"}


class ChoicesAnswer(BaseModel):
    """What was done to the picture, in this order; null and false: nothing."""

    model_config = ConfigDict(from_attributes=True)

    format: Literal["png", "jpeg"] = Field(description="What the file is, by its bytes.")
    width: int = Field(description="Of the file's picture, in pixels.")
    height: int
    bits: int = Field(description="Of each sample; 16 are scaled to 8.")
    oriented: int | None = Field(description="EXIF's orientation, 2 to 8, that was undone.")
    composited_on: int | None = Field(
        description="The level 0..255 behind what was transparent, before any inversion."
    )
    converted_from: str | None = Field(
        description="The file's colours, RGB, CMYK or palette, where they are not the dataset's."
    )
    inverted: bool = Field(description="Only where it was asked for.")
    resized_to: tuple[int, int] | None = Field(description="Width and height, shape kept.")
    resized_by: str | None = Field(description="The filter.")
    padded_with: int | None = Field(
        description="The level around a picture whose shape is not the dataset's, as it is kept."
    )


class UploadAnswer(BaseModel):
    """An image that was taken in."""

    reference: str = Field(description="Taken wherever an image is.", examples=["upload:Xb3..."])
    dataset: str = Field(description="The dataset whose images it is made like.")
    width: int = Field(description="As it is kept, in pixels.")
    height: int
    label: None = Field(None, description="An upload has no class of its own.")
    choices: ChoicesAnswer


@router.post(
    "/images",
    status_code=201,
    summary="Upload an image",
    responses={
        201: {"headers": {"Location": {"schema": {"type": "string"}}, **REPLAYED}},
        413: {"description": "The body, or the picture in it, is larger than is taken."},
        415: {"description": "Neither PNG nor JPEG, by its bytes; or an animation."},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["file"],
                        "properties": {"file": _BINARY},
                    }
                },
                **{kind: {"schema": _BINARY} for kind in PICTURES},
            },
        }
    },
)
async def create_image(
    services: Services,
    request: Request,
    response: Response,
    key: Key = None,
    dataset: Annotated[
        str,
        Query(
            max_length=64,
            description="Whose size and channels it gets.",
            json_schema_extra={"enum": list(DATASETS)},
        ),
    ] = "mnist",
    invert: Annotated[
        bool, Query(description="Swap black and white: MNIST's digits are white on black.")
    ] = False,
) -> UploadAnswer:
    """A PNG or JPEG, told by its bytes; made like the dataset's images, and kept as a new PNG.

    The file itself is not kept. What was done to the picture is in `choices`; the same file again
    gives the same reference.
    """
    data = await _file(request)
    asked = request_key(request, key, data) if key is not None else None
    kept, replayed = await to_thread.run_sync(
        lambda: services.uploads.take(dataset, data, invert=invert, asked=asked),
        limiter=services.decoders,
    )
    response.headers["Location"] = f"/images/{kept.image.reference}?dataset={dataset}"
    tell_replayed(response, replayed)
    return _answer(kept)


async def _file(request: Request) -> bytes:
    """The bytes of the part `file`, or the body itself. 415 for a body of another kind."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        return await _read(request, kind)
    except ClientDisconnect as error:
        raise HTTPException(400, "The body ended early") from error


async def _read(request: Request, kind: str) -> bytes:
    if kind in PICTURES:
        return await request.body()
    if kind != "multipart/form-data":
        raise HTTPException(
            415, "The body is to be image/png, image/jpeg, or multipart/form-data with a `file`"
        )
    async with request.form(max_files=1, max_fields=10, max_part_size=2**16) as form:
        part = form.get("file")
        if not isinstance(part, UploadFile):
            raise InvalidValue("file", "is missing; the form is to have a file of that name")
        return await part.read()


def _answer(kept: Upload) -> UploadAnswer:
    _, height, width = DATASETS[kept.image.dataset].image_shape
    values: dict[str, Any] = {"choices": kept.choices, "width": width, "height": height}
    return UploadAnswer(reference=kept.image.reference, dataset=kept.image.dataset, **values)
