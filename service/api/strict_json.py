"""JSON bodies read strictly: what is not JSON is 400, what is no JSON at all is 415."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json


class StrictJsonRequest(Request):
    """Parses with pydantic's parser, which refuses NaN, half surrogates and endless nesting."""

    async def json(self) -> Any:
        """The body. 400 with the place of the mistake."""
        body = await self.body()
        try:
            return from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise HTTPException(400, f"The body is not JSON: {error}") from error


class StrictJsonRoute(APIRoute):
    """A route whose bodies are read so."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, behind the check of the content type."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if self.body_field is not None and kind != "application/json":
                if not self.body_field.field_info.is_required() and not await request.body():
                    return await handle(request)  # nothing was sent where nothing has to be
                raise HTTPException(415, "The body is to be JSON: Content-Type: application/json")
            return await handle(StrictJsonRequest(request.scope, request.receive))

        return strict
