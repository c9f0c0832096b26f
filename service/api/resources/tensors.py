"""Tensors: safetensors files of one tensor each, by their SHA-256; uploads can be resumed."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, TypeVar

from anyio import CapacityLimiter, WouldBlock
from fastapi import APIRouter, Header, HTTPException, Path, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from service.api.caching import has_etag
from service.api.concurrency import run_in_pool
from service.api.problems import UPLOAD_OFFSET
from service.api.scopes import requires
from service.api.services import ApiServices, Services
from service.errors import InvalidValue, TensorUploadsBusy
from service.flows import tensor_uploads
from service.flows.tensor_uploads import MAX_TENSOR_BYTES, TensorReceiver
from service.flows.thread_pools import PoolName
from service.store.tensors import StoredTensor
from service.store.tokens import READ, RUN

T = TypeVar("T")

router = APIRouter(tags=["tensors"])

_CONTENT_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18})", re.ASCII)

_FORMAT = (
    "A safetensors file with one tensor of the name `tensor`, in one form: 8 bytes with the length "
    'of the header, little-endian; the header `{"tensor":{"dtype":"F32","shape":[2,3],'
    '"data_offsets":[0,24]}}`, without spaces except those at its end that make its length a '
    "multiple of 8; the elements in C order, little-endian."
)

TensorHash = Annotated[
    str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file, in hexadecimal digits.")
]
ContentRange = Annotated[
    str | None,
    Header(
        alias="Content-Range",
        max_length=64,
        description="Which part of the file the body is: `bytes 4194304-8388607/9437184`. "
        "`bytes */9437184`, with an empty body, asks how many bytes are stored. Without it, the "
        "body is the whole file.",
    ),
]
_OFFSET_HEADER = {
    "Upload-Offset": {
        "description": "How many bytes of the file are stored: the upload continues there.",
        "schema": {"type": "integer"},
    }
}
_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


class TensorResponse(BaseModel):
    """A tensor file, or the part of it that is stored."""

    sha256: str
    bytes: int = Field(description="Of the complete file.")
    received_bytes: int = Field(description="Equal to `bytes` once the file is complete.")
    dtype: str | None = Field(description="Null while the file is incomplete, like `shape`.")
    shape: list[int] | None
    not_finite: int | None = Field(description="Number of elements that are NaN or infinite.")


@router.get(
    "/tensors/{sha256}",
    summary="Get a tensor",
    response_class=StreamingResponse,
    responses={
        200: {"content": _BINARY},
        304: {"description": "The client has the tensor."},
        404: {
            "description": "The tensor is not stored, or not completely.",
            "headers": _OFFSET_HEADER,
        },
    },
)
@requires(READ)
def read_tensor(services: Services, request: Request, sha256: TensorHash) -> Response:
    """The tensor's file. HEAD tells whether it is stored, and how much of it if it is not."""
    tensor = tensor_uploads.find_tensor(services.store, sha256)
    headers = {
        "ETag": f'"{sha256}"',
        # The address contains the hash of the content.
        "Cache-Control": "private, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    if has_etag(request, sha256):
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(tensor.bytes)
    parts = tensor_uploads.read_tensor(services.store, tensor)
    return StreamingResponse(parts, media_type="application/octet-stream", headers=headers)


@router.put(
    "/tensors/{sha256}",
    status_code=201,
    summary="Store a tensor",
    responses={
        200: {"description": "The tensor is stored already.", "model": TensorResponse},
        202: {
            "description": "A part is stored.",
            "headers": _OFFSET_HEADER,
            "model": TensorResponse,
        },
        409: {
            "description": "The body does not continue what is stored.",
            "headers": _OFFSET_HEADER,
        },
        413: {"description": f"The file has more than {MAX_TENSOR_BYTES:,} bytes."},
        503: {"description": "Too many tensors are being received. Try again in a moment."},
        507: {"description": "The store is full."},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {
                    "schema": {"type": "string", "format": "binary", "description": _FORMAT}
                }
            },
        }
    },
)
@requires(RUN)
async def create_tensor(
    services: Services,
    request: Request,
    response: Response,
    sha256: TensorHash,
    content_range: ContentRange = None,
) -> TensorResponse:
    """Store a tensor, or a part of it. Equal tensors are stored once, whatever runs use them.

    What has been received when a connection breaks stays; `Upload-Offset` of HEAD is where to
    continue. The complete file is verified: type, shape, length and SHA-256. A tensor that no
    epoch refers to is deleted a day after its last use.
    """
    start, total_bytes = _range(request, content_range)
    with _upload_slot(services.tensor_slots, request):
        receiver = TensorReceiver(services.store, sha256, start, total_bytes)
        tensor = await _write(services, receiver.begin)
        is_new = tensor is None
        if tensor is None:
            await _receive(services, request, receiver)
            tensor = await _write(services, receiver.finish)
    if tensor is None:
        response.status_code = 202
        response.headers[UPLOAD_OFFSET] = str(receiver.received_bytes)
        return _upload_response(receiver)
    response.status_code = 201 if is_new else 200
    return _tensor_response(tensor)


async def _receive(services: ApiServices, request: Request, receiver: TensorReceiver) -> None:
    """Store the body as it arrives; what arrived of a body that breaks off as well."""
    try:
        async for chunk in request.stream():
            if receiver.add(chunk):
                await _write(services, receiver.store_parts)
    except ClientDisconnect as error:
        await _write(services, lambda: receiver.store_parts(is_last=True))
        raise HTTPException(400, "The request body is incomplete.") from error
    await _write(services, lambda: receiver.store_parts(is_last=True))


async def _write(services: ApiServices, function: Callable[[], T]) -> T:
    return await run_in_pool(services.thread_pools[PoolName.WRITING], function)


@contextmanager
def _upload_slot(slots: CapacityLimiter, request: Request) -> Iterator[None]:
    """Hold a slot during a `with` block: a request holds a part of its tensor in memory."""
    try:
        slots.acquire_on_behalf_of_nowait(request)
    except WouldBlock as error:
        raise TensorUploadsBusy from error
    try:
        yield
    finally:
        slots.release_on_behalf_of(request)


def _range(request: Request, content_range: str | None) -> tuple[int, int]:
    """Where the body begins in the file, and the file's bytes. Raises InvalidValue."""
    length = request.headers.get("content-length", "")
    if content_range is None:
        if not length.isdecimal():
            raise InvalidValue("Content-Length", "is required without Content-Range")
        start, total_bytes = 0, int(length)
    else:
        match = _CONTENT_RANGE.fullmatch(content_range)
        if match is None:
            raise InvalidValue("Content-Range", "must have the form bytes 0-4194303/9437184")
        start, total_bytes = int(match[1] or 0), int(match[3])
        if match[2] is not None and not start <= int(match[2]) < total_bytes:
            raise InvalidValue("Content-Range", "must be a range within the file")
        expected_length = 0 if match[2] is None else int(match[2]) - start + 1
        if length.isdecimal() and int(length) != expected_length:
            raise InvalidValue("Content-Range", "must be as long as the body")
    if total_bytes > MAX_TENSOR_BYTES:
        raise HTTPException(413, f"The file exceeds the limit of {MAX_TENSOR_BYTES} bytes.")
    return start, total_bytes


def _tensor_response(tensor: StoredTensor) -> TensorResponse:
    return TensorResponse(
        sha256=tensor.sha256,
        bytes=tensor.bytes,
        received_bytes=tensor.bytes,
        dtype=tensor.dtype,
        shape=list(tensor.shape),
        not_finite=tensor.not_finite,
    )


def _upload_response(receiver: TensorReceiver) -> TensorResponse:
    return TensorResponse(
        sha256=receiver.sha256,
        bytes=receiver.total_bytes,
        received_bytes=receiver.received_bytes,
        dtype=None,
        shape=None,
        not_finite=None,
    )
