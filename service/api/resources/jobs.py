"""Jobs: long work that is followed, fetched later, or cancelled."""

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
    BeforeValidator(require_digits),
    Path(ge=1, le=2**63 - 1, description="The job's id.", examples=[1]),
]


class JobResultResponse(BaseModel):
    """Where the result is."""

    href: str = Field(examples=["/jobs/1/result"])
    media_type: str
    bytes: int


class JobProblem(BaseModel):
    """Why a job failed, as a problem (RFC 9457)."""

    type: str = Field(description="As of any error; `interrupted`: its server ended.")
    title: str
    status: int
    detail: str


class JobResponse(BaseModel):
    """A job as it stands."""

    id: int
    kind: str = Field(examples=["evaluation"])
    request: str = Field(description="The address whose answer is the result.")
    status: JobStatus
    progress: float | None = Field(ge=0, le=1, description="Null where it is not known.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: JobResultResponse | None
    error: JobProblem | None


def answer(job: Job) -> JobResponse:
    """The job as clients see it."""
    result = error = None
    if job.result_bytes is not None:
        href, media_type = f"/jobs/{job.id}/result", job.result_media_type or ""
        result = JobResultResponse(href=href, media_type=media_type, bytes=job.result_bytes)
    if job.error is not None:
        problem = stored_problem(job.error.type, job.error.detail)
        error = JobProblem.model_validate(problem.marshal())
    values: dict[str, Any] = {**vars(job)}
    values |= {"kind": job.type, "result": result, "error": error}
    return JobResponse.model_validate(values)


def accepted(job: Job) -> Response:
    """202, with the job that will have the answer (RFC 7240, 4.1)."""
    headers = {
        "Location": f"/jobs/{job.id}",
        "Preference-Applied": "respond-async",
        "Cache-Control": "no-store",
    }
    return JSONResponse(answer(job).model_dump(mode="json"), 202, headers)


@router.get("/jobs", summary="List jobs, newest first")
@requires(READ)
def list_jobs(
    services: Services,
    status: Annotated[JobStatus | None, Query(description="Only jobs of this status.")] = None,
    limit: PageLimit = 50,
    cursor: Cursor = None,
) -> Page[JobResponse]:
    """A GET of expensive work with the header `Prefer: respond-async` creates one.

    An ended job is removed after an hour (CAMREEL_JOB_SECONDS).
    """
    before = decode_cursor(cursor)
    found = services.jobs.newest(limit=limit + 1, before=before, status=status)
    return paginate(found, limit, answer, lambda job: job.id)


@router.get("/jobs/{job_id}", summary="One job")
@requires(READ)
def read_job(services: Services, job_id: JobId) -> JobResponse:
    """Its status, progress, and where its result is."""
    return answer(services.jobs.get(job_id))


@router.get(
    "/jobs/{job_id}/result",
    summary="What a job gave",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "As the request's own."},
        404: {"description": "There is no such job, or it has no result, at least not yet."},
    },
)
@requires(READ)
def read_job_result(services: Services, request: Request, job_id: JobId) -> Response:
    """The bytes and headers that the request would have been answered with; why, if it failed."""
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
def delete_job(services: Services, job_id: JobId, who: CurrentPrincipal) -> Response:
    """Cancel it if it waits or runs: 202; its work ends within a second. If it has ended, remove
    it with its result: 204. For whoever asked for it, or the scope admin.
    """
    job = services.jobs.cancel_or_remove(job_id, who.rate_limit_key, any_owner=who.has_scope(ADMIN))
    if job is None:
        return Response(status_code=204)
    return JSONResponse(answer(job).model_dump(mode="json"), 202, {"Cache-Control": "no-store"})
