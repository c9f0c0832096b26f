"""`POST /images`: images of the client's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from anyio import CapacityLimiter, WouldBlock, to_thread
from fastapi import APIRouter, HTTPException, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from service.api.idempotency import (
    REPLAYED_HEADER,
    IdempotencyKey,
    request_key,
    set_replayed_header,
)
from service.api.scopes import requires
from service.api.services import Services
from service.core.datasets import DATASETS
from service.errors import InvalidValue, UploadsBusy
from service.store.tokens import RUN
from service.store.uploaded_images import Upload

router = APIRouter(tags=["images"])

IMAGE_TYPES = ("image/png", "image/jpeg")
_ALIASES = {
    *("image/x-png", "image/apng", "image/vnd.mozilla.apng"),
    *("image/jpg", "image/pjpeg", "image/x-jpeg", "image/x-jpg", "image/jfif", "image/pipeg"),
    "application/octet-stream",  # a file whose kind its sender does not know
}
"""Taken like IMAGE_TYPES: the bytes alone decide what a file is."""
_BINARY = {"type": "string", "format": "binary"}


class ChoicesResponse(BaseModel):
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


class UploadResponse(BaseModel):
    """An image that was taken in."""

    reference: str = Field(description="Taken wherever an image is.", examples=["upload:Xb3..."])
    dataset: str = Field(description="The dataset whose images it is made like.")
    width: int = Field(description="As it is kept, in pixels.")
    height: int
    label: None = Field(None, description="An upload has no class of its own.")
    choices: ChoicesResponse


@router.post(
    "/images",
    status_code=201,
    summary="Upload an image",
    responses={
        201: {"headers": {"Location": {"schema": {"type": "string"}}, **REPLAYED_HEADER}},
        413: {"description": "The body, or the picture in it, is larger than is taken."},
        415: {
            "description": "Neither PNG nor JPEG, by its bytes; an animation; a JPEG of 12 bits, "
            "lossless, hierarchical or with arithmetic coding."
        },
        503: {"description": "Too many uploads wait to be decoded; try again in a moment."},
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
                **{kind: {"schema": _BINARY} for kind in IMAGE_TYPES},
            },
        }
    },
)
@requires(RUN)
async def create_image(
    services: Services,
    request: Request,
    response: Response,
    key: IdempotencyKey = None,
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
) -> UploadResponse:
    """A PNG or JPEG, told by its bytes; made like the dataset's images, and kept as a new PNG.

    The file itself is not kept. What was done to the picture is in `choices`; the same file again
    gives the same reference.
    """
    # Before the body is read: what waits holds its bytes in memory.
    with _place(services.upload_slots, request):
        data = await _file(request)
        asked = request_key(request, key, data) if key is not None else None
        kept, replayed = await to_thread.run_sync(
            lambda: services.uploads.add(dataset, data, invert=invert, request_key=asked),
            limiter=CapacityLimiter(1),  # bounded by the places
        )
    response.headers["Location"] = f"/images/{kept.image.reference}?dataset={dataset}"
    set_replayed_header(response, replayed)
    return _answer(kept)


@contextmanager
def _place(places: CapacityLimiter, request: Request) -> Iterator[None]:
    """One of the places, for the time of a block. Raises UploadsBusy."""
    try:
        places.acquire_on_behalf_of_nowait(request)
    except WouldBlock as error:
        raise UploadsBusy from error
    try:
        yield
    finally:
        places.release_on_behalf_of(request)


async def _file(request: Request) -> bytes:
    """The bytes of the part `file`, or the body itself. 415 for a body of another kind."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if media_type in IMAGE_TYPES or media_type in _ALIASES:
            return await request.body()
        if media_type == "multipart/form-data":
            return await _form_file(request)
    except ClientDisconnect as error:
        raise HTTPException(400, "The body ended early") from error
    raise HTTPException(
        415, "The body is to be image/png, image/jpeg, or multipart/form-data with a `file`"
    )


async def _form_file(request: Request) -> bytes:
    # Of any media type, which browsers guess by the file's name.
    async with request.form(max_files=1, max_fields=10, max_part_size=2**16) as form:
        part = form.get("file")
        if not isinstance(part, UploadFile):
            raise InvalidValue("file", "is missing; the form is to have a file of that name")
        return await part.read()


def _answer(kept: Upload) -> UploadResponse:
    _, height, width = DATASETS[kept.image.dataset].image_shape
    values: dict[str, Any] = {"choices": kept.choices, "width": width, "height": height}
    return UploadResponse(reference=kept.image.reference, dataset=kept.image.dataset, **values)
