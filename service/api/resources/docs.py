"""Swagger UI, from files of this installation, by URLs relative to the page."""

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

from service.api.scopes import requires
from service.store.tokens import READ

ASSETS = "static-offline-docs"
"""Path at which fastapi-offline mounts the files."""

router = APIRouter(include_in_schema=False)


@router.get("/docs")
@requires(READ)
def read_docs(request: Request) -> HTMLResponse:
    """The page. The one of fastapi-offline uses absolute URLs, which fail below a root path."""
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title=f"{request.app.title}: API",
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
    )
