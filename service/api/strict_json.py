"""Strict parsing of JSON bodies: malformed JSON is 400, another content type is 415."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json


class StrictJsonRequest(Request):
    """Parses with pydantic's parser, which rejects NaN, lone surrogates and deep nesting."""

    async def json(self) -> Any:
        """The parsed body. Raises HTTPException 400 with the position of the error."""
        body = await self.body()
        try:
            return from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise HTTPException(400, f"The body is not JSON: {error}") from error


class StrictJsonRoute(APIRoute):
    """A route that parses its bodies strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, with a check of the content type before it."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if self.body_field is not None and content_type != "application/json":
                if not self.body_field.field_info.is_required() and not await request.body():
                    return await handle(request)  # an optional body was left out
                raise HTTPException(415, "The body must be JSON (Content-Type: application/json).")
            return await handle(StrictJsonRequest(request.scope, request.receive))

        return handle_strictly
