"""Records every change in the audit log: who, what, when, with which outcome."""

from dataclasses import dataclass
from functools import partial

import structlog
from anyio import to_thread
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.request_context import RequestContext, client_address, request_context
from service.api.scopes import SAFE_METHODS
from service.errors import CamreelError
from service.flows.access import record_change
from service.flows.credentials import TOKEN

log = structlog.get_logger()


@dataclass(frozen=True)
class AuditTrailMiddleware:
    """Writes the entry after the change and before its response is sent.

    Requests of unauthenticated clients are not recorded, except sign-ins.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application; record what was not a safe method."""
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self.app(scope, receive, send)
            return

        async def record_and_send(message: Message) -> None:
            context = request_context(scope)
            if message["type"] == "http.response.start" and _is_recorded(context, message):
                await _record(scope, context, message)
            await send(message)

        await self.app(scope, receive, record_and_send)


FREQUENT_ROUTES = frozenset({"/tensors/{sha256}", "/runs/{run_id}/heartbeat"})
"""Routes of recorders that are called hundreds of times per epoch. The epoch itself is recorded."""


def _is_recorded(context: RequestContext, message: Message) -> bool:
    if context.principal is not None:
        is_frequent = context.route_template in FREQUENT_ROUTES and message["status"] < 400
        return context.route_template is not None and not is_frequent
    return context.route_template == "/session" and message["status"] != 429


async def _record(scope: Scope, context: RequestContext, message: Message) -> None:
    principal = context.principal
    actor = principal.name if principal else f"unknown at {client_address(scope)}"
    created = Headers(raw=message["headers"]).get("location")
    write = partial(
        record_change,
        scope["app"].state.services.store,
        actor=actor,
        action=f"{scope['method']} {context.route_template}",
        target=TOKEN.sub("<secret>", created or scope["path"]),
        outcome=str(message["status"]),
        request_id=context.request_id,
    )
    try:
        await to_thread.run_sync(write)
    except CamreelError as error:
        # The change is made. An error response would have the client repeat it.
        log.warning(
            "audit log not written", actor=actor, route=context.route_template, error=str(error)
        )
