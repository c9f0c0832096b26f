"""Browser sessions: a token is exchanged for a cookie."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from service.api.concurrency import run_in_write_pool
from service.api.middleware.access_control import SESSION_COOKIE, session_cookie
from service.api.middleware.root_path import root_path
from service.api.request_context import CurrentPrincipal, request_context
from service.api.scopes import PUBLIC, requires
from service.api.services import Services
from service.api.strict_json import StrictJsonRoute
from service.flows import access
from service.flows.access import LOCAL_USER, Principal
from service.flows.credential_cache import CredentialKind
from service.store.tokens import READ

router = APIRouter(tags=["access"], route_class=StrictJsonRoute)


class SignInBody(BaseModel):
    """The token to sign in with."""

    model_config = ConfigDict(extra="forbid", strict=True)

    token: Annotated[
        str, Field(min_length=1, max_length=256, description="From `camreel token create`.")
    ]


class SessionResponse(BaseModel):
    """The authenticated principal."""

    open: bool = Field(description="No token exists yet, so none is required on this machine.")
    name: str
    scope: str = Field(description="`read`, `run` or `admin`; each includes the previous ones.")
    expires_at: datetime | None
    csrf_token: str | None = Field(
        description="Value of `X-CSRF-Token` for changes by cookie; null without a cookie."
    )


@router.post("/session", summary="Sign in with a token")
@requires(PUBLIC)
@run_in_write_pool
def sign_in(
    services: Services, request: Request, response: Response, body: SignInBody
) -> SessionResponse:
    """Set a session cookie (HttpOnly, SameSite=Strict): 12 hours without use, at most 7 days."""
    secret, principal = access.sign_in(services.store, body.token)
    request_context(request.scope).principal = principal
    assert principal.expires_at is not None, "sessions expire"  # noqa: S101  for mypy
    response.set_cookie(
        SESSION_COOKIE,
        secret,
        path=_cookie_path(request),
        max_age=int(access.MAX_SIGN_IN_AGE.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    response.headers["Cache-Control"] = "no-store"
    return _session_response(principal)


@router.get("/session", summary="Current session")
@requires(READ)
def read_session(response: Response, principal: CurrentPrincipal) -> SessionResponse:
    """The principal and its scope."""
    response.headers["Cache-Control"] = "no-store"
    return _session_response(principal)


@router.delete("/session", status_code=204, summary="Sign out")
@requires(READ)
@run_in_write_pool
def sign_out(services: Services, request: Request, response: Response) -> None:
    """End the session of the cookie."""
    secret = session_cookie(request.headers)
    if secret:
        access.sign_out(services.store, secret)
        services.credentials.evict(CredentialKind.SIGN_IN, secret)
    response.delete_cookie(
        SESSION_COOKIE, path=_cookie_path(request), httponly=True, samesite="strict"
    )


def _cookie_path(request: Request) -> str:
    # Keeps the cookie from other applications that a proxy serves on the same origin.
    return root_path(request.scope) or "/"


def _session_response(principal: Principal) -> SessionResponse:
    expires_at = principal.expires_at.astimezone(UTC) if principal.expires_at else None
    return SessionResponse(
        open=principal is LOCAL_USER,
        name=principal.name,
        scope=principal.scope,
        expires_at=expires_at,
        csrf_token=principal.sign_in_proof,
    )
