"""Signing in: the page shows a token once, and has a cookie from then on."""

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
    """What signs in."""

    model_config = ConfigDict(extra="forbid", strict=True)

    token: Annotated[
        str, Field(min_length=1, max_length=256, description="Of `camreel token create`.")
    ]


class SessionResponse(BaseModel):
    """Who asks."""

    open: bool = Field(description="The service asks nobody who they are: it has no token yet.")
    name: str
    scope: str = Field(description="`read`, `run` or `admin`: each takes in those before.")
    expires_at: datetime | None
    csrf_token: str | None = Field(
        description="What a change by cookie shows as `X-CSRF-Token`; null without a cookie."
    )


@router.post("/session", summary="Sign in with a token")
@requires(PUBLIC)
@run_in_write_pool
def sign_in(
    services: Services, request: Request, response: Response, body: SignInBody
) -> SessionResponse:
    """A cookie that no script reads and no other site sends, for 12 hours without use or 7 days."""
    secret, who = access.sign_in(services.store, body.token)
    request_context(request.scope).principal = who
    assert who.expires_at is not None, "a sign-in ends"  # noqa: S101  for mypy
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
    return _answer(who)


@router.get("/session", summary="Who asks")
@requires(READ)
def read_session(response: Response, who: CurrentPrincipal) -> SessionResponse:
    """Who, and what for they may."""
    response.headers["Cache-Control"] = "no-store"
    return _answer(who)


@router.delete("/session", status_code=204, summary="Sign out")
@requires(READ)
@run_in_write_pool
def sign_out(services: Services, request: Request, response: Response) -> None:
    """The cookie is good for nothing from now on."""
    secret = session_cookie(request.headers)
    if secret:
        access.sign_out(services.store, secret)
        services.credentials.evict(CredentialKind.SIGN_IN, secret)
    response.delete_cookie(
        SESSION_COOKIE, path=_cookie_path(request), httponly=True, samesite="strict"
    )


def _cookie_path(request: Request) -> str:
    # What else a proxy shows on the same origin is not sent the cookie.
    return root_path(request.scope) or "/"


def _answer(who: Principal) -> SessionResponse:
    expires_at = who.expires_at.astimezone(UTC) if who.expires_at else None
    return SessionResponse(
        open=who is LOCAL_USER,
        name=who.name,
        scope=who.scope,
        expires_at=expires_at,
        csrf_token=who.sign_in_proof,
    )
