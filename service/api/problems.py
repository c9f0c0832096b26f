"""Errors as problem+json (RFC 9457): a table maps each error class to its status.

A browser that shows an address of the API gets a page instead.
"""

from functools import cache
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_problem.error import Problem, StatusProblem
from fastapi_problem.handler import ExceptionHandler, add_exception_handler, new_exception_handler
from pydantic_core import ErrorDetails
from starlette.types import Scope

from service import errors, store_errors
from service.api import errors as http_errors
from service.api.problem_page import negotiate_problem
from service.errors import CamreelError, InvalidSettings, InvalidValue, error_type
from service.field_errors import SECONDARY_ERRORS, FieldError, field_error

STATUSES: dict[type[CamreelError], int] = {
    errors.InvalidValue: 422,
    errors.UnknownName: 422,
    errors.InvalidSettings: 422,
    errors.NotFound: 404,
    errors.RunNotFound: 404,
    errors.ExperimentNotFound: 404,
    errors.ExperimentConflict: 409,
    errors.EpochNotFound: 404,
    errors.ImageNotFound: 404,
    errors.DatasetUnavailable: 404,
    errors.DatasetNotFound: 404,
    errors.DatasetChanged: 409,
    errors.DatasetNotMeasured: 409,
    errors.DatasetExists: 409,
    errors.DatasetInUse: 409,
    errors.ArchiveRefused: 422,
    errors.ImageRefused: 422,
    errors.WeightsUnavailable: 404,
    errors.TokenNotFound: 404,
    errors.NetworkNotFound: 404,
    errors.TensorNotFound: 404,
    errors.UploadConflict: 409,
    errors.LeaseStale: 409,
    errors.TensorsRejected: 422,
    errors.TensorUploadsBusy: 503,
    errors.Unauthenticated: 401,
    errors.ScopeMissing: 403,
    http_errors.CsrfRefused: 403,
    http_errors.OriginRefused: 403,
    http_errors.CrossSiteRefused: 403,
    http_errors.HostRefused: 400,
    http_errors.SecretInAddress: 400,
    http_errors.RangeNotSatisfiable: 416,
    http_errors.RateLimited: 429,
    errors.KeyReused: 422,
    errors.QueueFull: 429,
    http_errors.TooManyStreams: 429,
    errors.PoolFull: 503,
    errors.JobsFull: 503,
    errors.JobNotFound: 404,
    errors.JobNotDone: 404,
    errors.JobNotOwned: 403,
    errors.Interrupted: 409,
    errors.UnsupportedImage: 415,
    errors.ImageTooLarge: 413,
    errors.UploadsBusy: 503,
    errors.RunConflict: 409,
    errors.RunEnded: 409,
    errors.RunCancelled: 409,
    errors.RequestCancelled: 499,  # appears only in the log
    errors.RunDiverged: 409,
    errors.DeviceUnavailable: 409,
    errors.CheckpointCorrupt: 410,
    errors.EpochQuarantined: 410,
    errors.ImportRefused: 422,
    errors.BackupRefused: 409,
    errors.FileRefused: 422,
    errors.NotReady: 503,
    store_errors.StoreUnavailable: 503,
    store_errors.StoreBusy: 503,
    store_errors.StoreReadOnly: 503,
    store_errors.StoreMissing: 503,
    store_errors.StoreAccessDenied: 503,
    store_errors.StoreInputOutput: 503,
    store_errors.SchemaMismatch: 503,
    store_errors.UnsupportedEncoding: 503,
    store_errors.StoreFull: 507,
    store_errors.StoreDamaged: 500,  # neither another request nor waiting helps
    store_errors.StatementRefused: 500,
}

RETRY_AFTER_SECONDS = 2

LONGER_RETRY_AFTER_SECONDS: dict[type[CamreelError], int] = {
    errors.QueueFull: 30,
    http_errors.TooManyStreams: 30,
    errors.PoolFull: 10,
    errors.JobsFull: 30,
}
"""Queues advance when a run or a computation ends, which takes longer than a lock."""

HINTS: dict[type[CamreelError], str] = {
    errors.Unauthenticated: "Send a valid one as Authorization: Bearer <token>.",
    errors.PoolFull: "The header is Prefer: respond-async.",
}
"""Appended to an error's text: how HTTP clients do what the text says."""

UPLOAD_OFFSET = "upload-offset"
"""Header with the number of bytes of an upload that are stored."""

FIELD_NAMES = {"idempotency_key": "Idempotency-Key"}
"""Request fields whose name in HTTP differs from the one in the domain."""


def install(app: FastAPI) -> None:
    """Respond to every error of the application with problem+json."""
    handler = _handler()
    add_exception_handler(app, handler)
    # Registered by class as well: Starlette raises again what only a handler of Exception handles.
    app.add_exception_handler(CamreelError, handler)


def problem_response(scope: Scope, error: Exception) -> Response:
    """The response to an error, for middleware."""
    response = _handler()(Request(scope), error)
    if scope["method"] == "HEAD":
        response.body = b""
    return response


@cache
def _handler() -> ExceptionHandler:
    return new_exception_handler(
        handlers={CamreelError: _domain_problem},
        unhandled_wrappers={"default": InternalError},
        request_validation_handler=_validation_problem,
        post_hooks=[negotiate_problem],
    )


def stored_problem(error_type_name: str, detail: str) -> Problem:
    """The problem of a stored error; `kind` is its `error_type`."""
    statuses = {error_type(error): status for error, status in STATUSES.items()}
    return Problem(
        error_type_name.replace("-", " ").capitalize(),
        type_=error_type_name,
        detail=detail,
        status=statuses.get(error_type_name, 500),
        headers={"cache-control": "no-store"},
    )


class InternalError(StatusProblem):
    """An unexpected error. Its message goes to the log only: it may contain a path."""

    title = "Internal error"
    type_ = "internal-error"
    status = 500

    def __init__(self, _: str | None = None) -> None:
        super().__init__("Unexpected error. See the server's log for details.")


def _domain_problem(_: ExceptionHandler, __: Request, error: CamreelError) -> Problem:
    status = STATUSES[type(error)]
    headers = {"cache-control": "no-store"}
    if status == 503:
        headers["retry-after"] = str(RETRY_AFTER_SECONDS)
    if (seconds := LONGER_RETRY_AFTER_SECONDS.get(type(error))) is not None:
        headers["retry-after"] = str(seconds)
    if isinstance(error, errors.Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="camreel"'
    if isinstance(error, http_errors.RateLimited):
        headers["retry-after"] = str(error.seconds)
    if isinstance(error, http_errors.RangeNotSatisfiable):
        headers["content-range"] = f"bytes */{error.length}"
    detail = f"{error} {HINTS.get(type(error), '')}".strip()
    extensions: dict[str, Any] = {}
    if isinstance(error, errors.TensorNotFound | errors.UploadConflict):
        headers[UPLOAD_OFFSET] = str(error.received_bytes)
        extensions["received_bytes"] = error.received_bytes
    if isinstance(error, errors.TensorsRejected):
        extensions = _tensor_errors(error)
    if isinstance(error, InvalidValue | InvalidSettings):
        invalid_values = [error] if isinstance(error, InvalidValue) else error.errors
        extensions["errors"] = [_field_extension(value) for value in invalid_values]
        detail = "; ".join(f"{e['field']}: {e['message']}" for e in extensions["errors"])[:2000]
    return Problem(
        error_type(type(error), " ").capitalize(),
        type_=error_type(type(error)),
        detail=detail,
        status=status,
        headers=headers,
        **extensions,
    )


def _field_extension(error: InvalidValue) -> dict[str, Any]:
    return {
        "field": FIELD_NAMES.get(error.field, error.field),
        "message": error.message,
        "type": error.code,
        "allowed": error.allowed,
        "context": error.context,
    }


def _tensor_errors(error: errors.TensorsRejected) -> dict[str, Any]:
    return {
        "missing": error.missing,
        "errors": [
            {"field": f"tensors.{name}", "message": reason}
            for name, reason in error.reasons.items()
        ],
    }


def _validation_problem(
    _: ExceptionHandler, request: Request, error: RequestValidationError
) -> Problem:
    primary = [e for e in error.errors() if e["type"] not in SECONDARY_ERRORS] or error.errors()
    errors_by_part = [(str(e["loc"][0]), _request_error(request, e)) for e in primary]
    return Problem(
        "Invalid request",
        type_="invalid-request",
        detail="; ".join(str(field) for _, field in errors_by_part)[:2000],
        status=422,
        headers={"cache-control": "no-store"},
        errors=[
            {
                "field": field.field,
                "in": part,
                "message": field.message,
                "type": field.code,
                "allowed": field.allowed,
                "context": field.context,
            }
            for part, field in errors_by_part
        ],
    )


def _request_error(request: Request, details: ErrorDetails) -> FieldError:
    """The error of a field, with its constraints from the OpenAPI schema."""
    openapi: dict[str, Any] = request.app.openapi()
    route = request.scope.get("route")
    operation = openapi["paths"].get(getattr(route, "path", ""), {}).get(request.method.lower(), {})
    part, *location = details["loc"]
    if part == "body":
        content = operation.get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema")
    else:
        parameters = operation.get("parameters", [])
        schema = {"properties": {p["name"]: p["schema"] for p in parameters if p["in"] == part}}
    located: ErrorDetails = {**details, "loc": tuple(location)}
    return field_error(located, schema, openapi["components"]["schemas"])
