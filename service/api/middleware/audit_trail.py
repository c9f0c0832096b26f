"""Every change is written down: who, what, when, and how it ended."""

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
    """Writes the entry after the change and before its answer: what was answered is written down.

    What nobody known asked for is not a change, and is in the log only; a sign-in is, either way.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; a change once it is written down."""
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self.app(scope, receive, send)
            return

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_noted(
                request_context(scope), message
            ):
                await _note(scope, request_context(scope), message)
            await send(message)

        await self.app(scope, receive, noted)


def _is_noted(known: RequestContext, message: Message) -> bool:
    if known.principal is not None:
        return known.route_template is not None
    return known.route_template == "/session" and message["status"] != 429


async def _note(scope: Scope, known: RequestContext, message: Message) -> None:
    actor = known.principal.name if known.principal else f"unknown at {client_address(scope)}"
    made = Headers(raw=message["headers"]).get("location")
    target = TOKEN.sub("<secret>", made or scope["path"])
    note = partial(
        record_change,
        scope["app"].state.services.store,
        actor=actor,
        action=f"{scope['method']} {known.route_template}",
        target=target,
        outcome=str(message["status"]),
        request_id=known.request_id,
    )
    try:
        await to_thread.run_sync(note)
    except CamreelError as error:
        # The change is done all the same: to answer otherwise would have it asked for again.
        log.warning("not in the audit log", actor=actor, route=known.route_template, why=str(error))
