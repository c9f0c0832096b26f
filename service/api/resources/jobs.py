"""Jobs: long computations whose result is fetched later."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, Field

from service.api.concurrency import run_in_write_pool
from service.api.pagination import Cursor, Page, PageLimit, decode_cursor, paginate, require_digits
from service.api.problems import stored_problem
from service.api.request_context import CurrentPrincipal
from service.api.scopes import requires
from service.api.services import Services
from service.api.work import Content
from service.store.jobs import Job, JobStatus
from service.store.tokens import ADMIN, READ

router = APIRouter(tags=["jobs"])

JobId = Annotated[
    int,
    Path(ge=1, le=2**63 - 1, description="Job id.", examples=[1]),
    BeforeValidator(require_digits),
]


class JobResultResponse(BaseModel):
    """Location and type of a job's result."""

    href: str = Field(examples=["/jobs/1/result"])
    media_type: str
    bytes: int


class JobErrorResponse(BaseModel):
    """Why a job failed, as a problem (RFC 9457)."""

    type: str = Field(description="An error type of this API; `interrupted`: the server stopped.")
    title: str
    status: int
    detail: str


class JobResponse(BaseModel):
    """The state of a job."""

    id: int
    kind: str = Field(examples=["evaluation"])
    request: str = Field(description="URL whose response is the result.")
    status: JobStatus
    progress: float | None = Field(ge=0, le=1, description="Null if unknown.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: JobResultResponse | None
    error: JobErrorResponse | None


def job_response(job: Job) -> JobResponse:
    """The job as a response."""
    result = error = None
    if job.result_bytes is not None:
        href, media_type = f"/jobs/{job.id}/result", job.result_media_type or ""
        result = JobResultResponse(href=href, media_type=media_type, bytes=job.result_bytes)
    if job.error is not None:
        problem = stored_problem(job.error.type, job.error.detail)
        error = JobErrorResponse.model_validate(problem.marshal())
    values: dict[str, Any] = {**vars(job)}
    values |= {"kind": job.type, "result": result, "error": error}
    return JobResponse.model_validate(values)


def accepted_response(job: Job) -> Response:
    """202 with the job that computes the response (RFC 7240, 4.1)."""
    headers = {
        "Location": f"/jobs/{job.id}",
        "Preference-Applied": "respond-async",
        "Cache-Control": "no-store",
    }
    return JSONResponse(job_response(job).model_dump(mode="json"), 202, headers)


@router.get("/jobs", summary="List jobs, newest first")
@requires(READ)
def list_jobs(
    services: Services,
    status: Annotated[JobStatus | None, Query(description="Only jobs with this status.")] = None,
    limit: PageLimit = 50,
    cursor: Cursor = None,
) -> Page[JobResponse]:
    """A GET of an expensive resource with the header `Prefer: respond-async` creates a job.

    A finished job is removed after an hour (CAMREEL_JOB_SECONDS).
    """
    before = decode_cursor(cursor)
    rows = services.jobs.list_newest(limit=limit + 1, before_id=before, status=status)
    return paginate(rows, limit, job_response, lambda job: job.id)


@router.get("/jobs/{job_id}", summary="Get a job")
@requires(READ)
def read_job(services: Services, job_id: JobId) -> JobResponse:
    """Status, progress and location of the result."""
    return job_response(services.jobs.get(job_id))


@router.get(
    "/jobs/{job_id}/result",
    summary="Get the result of a job",
    response_class=Response,
    responses={
        200: {
            "content": {"application/octet-stream": {}},
            "description": "As in the original response.",
        },
        404: {"description": "The job does not exist, or has no result (yet)."},
    },
)
@requires(READ)
def read_job_result(services: Services, request: Request, job_id: JobId) -> Response:
    """Content and headers as for the original request; the error if the job failed."""
    job = services.jobs.get(job_id)
    if job.error is not None:
        raise stored_problem(job.error.type, job.error.detail)
    result = services.jobs.result(job_id)
    return Content(result.content, result.media_type, result.headers).response(request)


@router.delete(
    "/jobs/{job_id}",
    status_code=204,
    summary="Cancel or remove a job",
    responses={
        202: {"model": JobResponse, "description": "The job was cancelled; its record remains."}
    },
)
@requires(READ)
@run_in_write_pool
def delete_job(services: Services, job_id: JobId, principal: CurrentPrincipal) -> Response:
    """Cancel a queued or running job: 202; it stops within a second. Remove a finished job and
    its result: 204. Requires the token that created the job, or scope admin.
    """
    job = services.jobs.cancel_or_remove(
        job_id, principal.rate_limit_key, any_owner=principal.has_scope(ADMIN)
    )
    if job is None:
        return Response(status_code=204)
    return JSONResponse(
        job_response(job).model_dump(mode="json"), 202, {"Cache-Control": "no-store"}
    )
