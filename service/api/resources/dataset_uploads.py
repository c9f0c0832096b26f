"""Uploads of image folders, and their deletion."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from starlette.requests import ClientDisconnect

from service.api.concurrency import run_in_pool, run_in_write_pool
from service.api.request_context import request_context
from service.api.resources.datasets import DatasetName, report_json
from service.api.resources.jobs import JobResponse, accepted_response
from service.api.scopes import requires
from service.api.services import ApiServices, Services
from service.api.work import Content
from service.core.datasets.dataset import FOLDER_NAME_PATTERN
from service.errors import UploadsBusy
from service.flows.dataset_uploads import ReceivedArchive
from service.flows.thread_pools import PoolName
from service.store.jobs import Job, JobResult
from service.store.tokens import ADMIN, RUN

router = APIRouter(tags=["datasets"])

ZIP_TYPES = frozenset({"application/zip", "application/x-zip-compressed"})
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    "/datasets",
    status_code=202,
    summary="Upload an image folder",
    response_model=JobResponse,
    responses={
        202: {
            "headers": {"Location": {"schema": {"type": "string"}}},
            "description": "A job, whose result is the report of the dataset.",
        },
        409: {"description": "There is a dataset of this name."},
        413: {"description": "The archive is too large (CAMREEL_MAX_DATASET_BYTES)."},
        415: {"description": "The body is not application/zip."},
        507: {"description": "The disk is full."},
    },
    openapi_extra=_BODY,
)
@requires(RUN)
async def create_dataset(
    services: Services,
    request: Request,
    name: Annotated[
        str,
        Query(
            max_length=40,
            description="The dataset will be `folder:<name>`.",
            json_schema_extra={"pattern": f"^{FOLDER_NAME_PATTERN}$"},
        ),
    ],
) -> Response:
    """Add a zip of `train/<class>/...` and `test/<class>/...`, or of one folder per class.

    Unsafe archives are refused at once, damaged ones fail the job. Either leaves nothing behind.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in ZIP_TYPES:
        raise HTTPException(415, "The body must be application/zip.")
    if services.dataset_upload_slots.available_tokens < 1:
        raise UploadsBusy
    pool = services.thread_pools[PoolName.WRITING]
    archive = await run_in_pool(pool, lambda: services.dataset_uploads.receive(name))
    is_accepted = False
    try:
        async with services.dataset_upload_slots:
            await _receive(request, archive)
            await run_in_pool(pool, lambda: services.dataset_uploads.check(archive))
        job = await run_in_pool(pool, lambda: _start_job(services, request, archive))
        is_accepted = True
    finally:
        if not is_accepted:
            archive.close()
    return accepted_response(job)


async def _receive(request: Request, archive: ReceivedArchive) -> None:
    """Write the body to the archive's file. Raises HTTPException 400."""
    try:
        async for chunk in request.stream():
            archive.file.write(chunk)
    except ClientDisconnect as error:
        raise HTTPException(400, "The request body is incomplete.") from error
    archive.file.flush()


def _start_job(services: ApiServices, request: Request, archive: ReceivedArchive) -> Job:
    principal = request_context(request.scope).principal
    owner = principal.rate_limit_key if principal else ""
    identity = secrets.token_hex(32)  # its archive is its own: no job stands for another
    href = f"{request.url.path}?{request.url.query}"

    def compute() -> JobResult:
        report = services.dataset_uploads.add(archive)
        content = Content.of(report_json(report), "application/json")
        return JobResult(content.body, content.media_type, content.headers)

    return services.jobs.start("dataset-upload", identity, owner, href, compute)


@router.delete("/datasets/{name}", status_code=204, summary="Delete an image folder")
@requires(ADMIN)
@run_in_write_pool
def delete_dataset(services: Services, name: DatasetName) -> None:
    """409 while queued or running runs use it, and for built-in datasets.

    Runs that have ended keep their checkpoints and maps.
    """
    services.dataset_uploads.delete(name)
