"""Errors as problem+json (RFC 9457): one table gives each domain error its status."""

import re
from functools import cache
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_problem.error import Problem, StatusProblem
from fastapi_problem.handler import ExceptionHandler, add_exception_handler, new_exception_handler
from starlette.types import Scope

from service import errors
from service.api.field_constraints import field_constraints
from service.errors import CamreelError, InvalidValue, error_type

STATUSES: dict[type[CamreelError], int] = {
    errors.InvalidValue: 422,
    errors.UnknownName: 422,
    errors.NotFound: 404,
    errors.RunNotFound: 404,
    errors.EpochNotFound: 404,
    errors.ImageNotFound: 404,
    errors.DatasetUnavailable: 404,
    errors.TokenNotFound: 404,
    errors.Unauthenticated: 401,
    errors.ScopeMissing: 403,
    errors.CsrfRefused: 403,
    errors.OriginRefused: 403,
    errors.CrossSiteRefused: 403,
    errors.HostRefused: 400,
    errors.SecretInAddress: 400,
    errors.RangeNotSatisfiable: 416,
    errors.RateLimited: 429,
    errors.KeyReused: 422,
    errors.QueueFull: 429,
    errors.TooManyStreams: 429,
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
    errors.RunCancelled: 409,
    errors.RequestCancelled: 499,  # heard by nobody but the log
    errors.RunDiverged: 409,
    errors.DeviceUnavailable: 409,
    errors.CheckpointCorrupt: 410,
    errors.EpochQuarantined: 410,
    errors.ImportRefused: 422,
    errors.BackupRefused: 409,
    errors.FileRefused: 422,
    errors.NotReady: 503,
    errors.StoreUnavailable: 503,
    errors.StoreBusy: 503,
    errors.StoreReadOnly: 503,
    errors.StoreMissing: 503,
    errors.StoreAccessDenied: 503,
    errors.StoreInputOutput: 503,
    errors.SchemaMismatch: 503,
    errors.UnsupportedEncoding: 503,
    errors.StoreFull: 507,
    errors.StoreDamaged: 500,  # nothing that a client could do, or wait for
    errors.StatementRefused: 500,
}

RETRY_AFTER_SECONDS = 2

LONGER_RETRY_AFTER_SECONDS: dict[type[CamreelError], int] = {
    errors.QueueFull: 30,
    errors.TooManyStreams: 30,
    errors.PoolFull: 10,
    errors.JobsFull: 30,
}
"""Queues move when a run or a computation ends, which takes longer than a lock."""

# Noise beside the error that caused it: a default that depends on a field which was refused.
_CONSEQUENCES = {"default_factory_not_called"}


def install(app: FastAPI) -> None:
    """Answer every error of the application as problem+json."""
    handler = _handler()
    add_exception_handler(app, handler)
    # By name too: what is only handled as an Exception is raised again, as unforeseen, to the log.
    app.add_exception_handler(CamreelError, handler)


def problem_response(scope: Scope, error: Exception) -> Response:
    """The answer that tells of an error, for what stands before the application's routes."""
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
    )


def stored_problem(kind: str, detail: str) -> Problem:
    """The problem of an error that was recorded by its type, as `error_type` names it."""
    statuses = {error_type(known): status for known, status in STATUSES.items()}
    return Problem(
        kind.replace("-", " ").capitalize(),
        type_=kind,
        detail=detail,
        status=statuses.get(kind, 500),
        headers={"cache-control": "no-store"},
    )


class InternalError(StatusProblem):
    """Something unforeseen. Its own words are for the log: they may hold a path."""

    title = "Internal error"
    type_ = "internal-error"
    status = 500

    def __init__(self, _: str | None = None) -> None:
        super().__init__("Something went wrong that Camreel did not foresee; its log has the rest.")


def _domain_problem(_: ExceptionHandler, __: Request, error: CamreelError) -> Problem:
    status = STATUSES[type(error)]
    headers = {"cache-control": "no-store"}
    if status == 503:
        headers["retry-after"] = str(RETRY_AFTER_SECONDS)
    if (seconds := LONGER_RETRY_AFTER_SECONDS.get(type(error))) is not None:
        headers["retry-after"] = str(seconds)
    if isinstance(error, errors.Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="camreel"'
    if isinstance(error, errors.RateLimited):
        headers["retry-after"] = str(error.seconds)
    if isinstance(error, errors.RangeNotSatisfiable):
        headers["content-range"] = f"bytes */{error.length}"
    more: dict[str, Any] = {}
    if isinstance(error, InvalidValue):
        more["errors"] = [
            {"field": error.field, "message": error.message, "allowed": error.allowed}
        ]
    return Problem(
        error_type(type(error), " ").capitalize(),
        type_=error_type(type(error)),
        detail=str(error),
        status=status,
        headers=headers,
        **more,
    )


def _validation_problem(
    _: ExceptionHandler, request: Request, error: RequestValidationError
) -> Problem:
    found = [_field_error(request, one) for one in error.errors()]
    causes = [one for one in found if one["type"] not in _CONSEQUENCES] or found
    detail = "; ".join(f"{one['field']}: {one['message']}" for one in causes)
    return Problem(
        "Invalid request",
        type_="invalid-request",
        detail=detail[:2000],
        status=422,
        headers={"cache-control": "no-store"},
        errors=causes,
    )


def _field_error(request: Request, error: dict[str, Any]) -> dict[str, Any]:
    """A field's name, what is wrong, and its bounds. What the client sent is not sent back."""
    location = error["loc"]
    allowed = field_constraints(request, location)
    message = re.sub(r"^Value error, ", "", error["msg"])
    if allowed and error["type"] != "value_error":
        message += f" ({_spoken(allowed)})"
    return {
        "field": ".".join(str(part) for part in location[1:] if part not in _tags(error)),
        "in": str(location[0]),
        "message": message[:500],
        "type": error["type"],
        "allowed": allowed,
    }


def _tags(error: dict[str, Any]) -> set[str]:
    # A union's tag stands in pydantic's location, but is no field of the client's.
    return {"adadelta", "sgd", "adam", "adamw"} if error["loc"][1:2] == ("optimizer",) else set()


def _spoken(allowed: dict[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in allowed.items())
