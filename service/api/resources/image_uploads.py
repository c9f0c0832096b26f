"""Uploads of images."""

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
from service.api.services import ApiServices, Services
from service.core.datasets import DATASETS
from service.core.spec import RunSpec
from service.errors import InvalidValue, UploadsBusy
from service.store.request_keys import RequestKey
from service.store.tokens import RUN
from service.store.uploaded_images import Upload

router = APIRouter(tags=["images"])

IMAGE_TYPES = ("image/png", "image/jpeg")
_OTHER_ACCEPTED_TYPES = {
    *("image/x-png", "image/apng", "image/vnd.mozilla.apng"),
    *("image/jpg", "image/pjpeg", "image/x-jpeg", "image/x-jpg", "image/jfif", "image/pipeg"),
    "application/octet-stream",  # type unknown to the client
}
"""Accepted like IMAGE_TYPES, because the format is detected from the bytes."""
_BINARY = {"type": "string", "format": "binary"}


class UploadConversionResponse(BaseModel):
    """Conversion steps, in this order; null or false: the step was not needed."""

    model_config = ConfigDict(from_attributes=True)

    format: Literal["png", "jpeg"] = Field(
        description="Format of the file, detected from its bytes."
    )
    width: int = Field(description="Width of the original image in pixels.")
    height: int
    bits: int = Field(description="Bits per sample; 16 are scaled to 8.")
    oriented: int | None = Field(description="EXIF orientation, 2 to 8, that was applied.")
    composited_on: int | None = Field(
        description="Background level 0..255 for transparent pixels, before any inversion."
    )
    converted_from: str | None = Field(
        description="Color mode of the file (RGB, CMYK, palette) if it is not the dataset's."
    )
    inverted: bool = Field(description="Only on request.")
    resized_to: tuple[int, int] | None = Field(
        description="Width and height, with the aspect ratio kept."
    )
    resized_by: str | None = Field(description="Resampling filter.")
    padded_with: int | None = Field(
        description="Level of the padding, if the aspect ratio differs from the dataset's."
    )
    cropped_to: tuple[int, int] | None = Field(
        None, description="Width and height of the center that the run's network sees."
    )


class UploadResponse(BaseModel):
    """An uploaded image."""

    reference: str = Field(
        description="Reference for `image` parameters.", examples=["upload:Xb3..."]
    )
    dataset: str = Field(description="The dataset to whose format the image was converted.")
    width: int = Field(description="Width after conversion, in pixels.")
    height: int
    label: None = Field(None, description="Always null: an upload has no label.")
    conversion: UploadConversionResponse


@router.post(
    "/images",
    status_code=201,
    summary="Upload an image",
    responses={
        201: {"headers": {"Location": {"schema": {"type": "string"}}, **REPLAYED_HEADER}},
        413: {"description": "The body or the image is too large."},
        415: {
            "description": "Neither PNG nor JPEG; an animation; a JPEG that is 12-bit, lossless, "
            "hierarchical or arithmetic-coded."
        },
        503: {"description": "Too many uploads are waiting to be decoded. Try again in a moment."},
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
            description="Dataset whose size and channels the image gets.",
            json_schema_extra={"enum": list(DATASETS)},
        ),
    ] = "mnist",
    run_id: Annotated[
        int | None,
        Query(
            ge=1,
            le=2**63 - 1,
            description="Run whose images' size, crop and channels the image gets, in place of "
            "those of a dataset. Required for runs on image folders or with an `input` of their "
            "own.",
        ),
    ] = None,
    invert: Annotated[
        bool, Query(description="Swap black and white: MNIST's digits are white on black.")
    ] = False,
) -> UploadResponse:
    """Convert a PNG or JPEG to the format of a dataset or run, and store it as PNG.

    The file itself is not stored. `conversion` lists the steps. The same file gives the same
    reference again.
    """
    # Before the body is read: waiting requests hold their bytes in memory.
    with _upload_slot(services.upload_slots, request):
        data = await _read_file(request)
        idempotency_key = request_key(request, key, data) if key is not None else None
        spec, upload, replayed = await to_thread.run_sync(
            lambda: _add_upload(services, dataset, run_id, data, invert, idempotency_key),
            limiter=CapacityLimiter(1),  # bounded by the slots
        )
    reference = upload.image.reference
    response.headers["Location"] = (
        f"/images/{reference}?dataset={dataset}"
        if run_id is None
        else f"/runs/{run_id}/images/{reference}"
    )
    set_replayed_header(response, replayed)
    return _upload_response(upload, spec)


def _add_upload(
    services: ApiServices,
    dataset: str,
    run_id: int | None,
    data: bytes,
    invert: bool,
    key: RequestKey | None,
) -> tuple[RunSpec, Upload, bool]:
    spec = services.uploads.find_spec(dataset, run_id)
    return spec, *services.uploads.add(spec, data, invert=invert, request_key=key)


@contextmanager
def _upload_slot(slots: CapacityLimiter, request: Request) -> Iterator[None]:
    """Hold a slot during a `with` block. Raises UploadsBusy."""
    try:
        slots.acquire_on_behalf_of_nowait(request)
    except WouldBlock as error:
        raise UploadsBusy from error
    try:
        yield
    finally:
        slots.release_on_behalf_of(request)


async def _read_file(request: Request) -> bytes:
    """The form field `file`, or the whole body. Raises HTTPException 415 for other bodies."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if media_type in IMAGE_TYPES or media_type in _OTHER_ACCEPTED_TYPES:
            return await request.body()
        if media_type == "multipart/form-data":
            return await _read_form_file(request)
    except ClientDisconnect as error:
        raise HTTPException(400, "The request body is incomplete.") from error
    raise HTTPException(
        415, "The body must be image/png, image/jpeg, or multipart/form-data with a `file`."
    )


async def _read_form_file(request: Request) -> bytes:
    # The part's media type is ignored: browsers derive it from the file name.
    async with request.form(max_files=1, max_fields=10, max_part_size=2**16) as form:
        part = form.get("file")
        if not isinstance(part, UploadFile):
            raise InvalidValue("file", "is missing; the form must contain a file with this name")
        return await part.read()


def _upload_response(upload: Upload, spec: RunSpec) -> UploadResponse:
    _, height, width = spec.input.image_shape
    values: dict[str, Any] = {"conversion": upload.choices, "width": width, "height": height}
    return UploadResponse(reference=upload.image.reference, dataset=spec.dataset, **values)
