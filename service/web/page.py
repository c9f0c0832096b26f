"""Serves the page's files, which are built from `web/` when the package is installed.

The page handles the paths below /app itself, so each of them that is not a file is answered with
the page's document. The document refers to its files and to the API by relative URLs, so that a
proxy can serve the service below any path.
"""

import mimetypes
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from html import escape
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from service.relative_urls import path_to_root

BUILD_FOLDER = Path(__file__).parent / "page"

MAX_CACHED_FILES = 32

REVALIDATE = "no-cache"
IMMUTABLE = "public, max-age=31536000, immutable"

NOT_BUILT = (
    "This installation has no page: it was built with CAMREEL_SKIP_PAGE. The API is at /docs.\n"
)

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
"""Only content of this service. uPlot moves its cursor by inline styles."""

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

PreloadHints = Callable[[Request, int], Sequence[str]]
"""Returns the API paths that the page of a run requests first."""

_RUN_PATH = re.compile(r"runs/([1-9]\d{0,17})/?", re.ASCII)


def page_router(preload_hints: PreloadHints, recorded_methods: Sequence[str]) -> APIRouter:
    """The page's routes. The document of a run contains `preload_hints` as links.

    `recorded_methods` are written into every document: the page shows their maps first.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def redirect_to_page() -> Response:
        """Redirects the service's root to the page."""
        return Response(status_code=307, headers={"Location": "app"})

    @router.get("/app")
    @router.get("/app/{path:path}")
    def get_page(request: Request, path: str = "") -> Response:
        """A built file, or the page's document for every other path."""
        files = _built_files()
        file = files.get(path)
        if file is not None and path != "index.html":
            # The names of assets contain a hash of their content.
            return _file_response(file, IMMUTABLE if path.startswith("assets/") else REVALIDATE)
        index = files.get("index.html")
        if index is None:
            return PlainTextResponse(NOT_BUILT, status_code=404)
        if path.startswith("assets/"):
            return PlainTextResponse("No such file.\n", status_code=404)
        run = _RUN_PATH.fullmatch(path)
        hints = preload_hints(request, int(run[1])) if run else ()
        return HTMLResponse(
            _document(index, path_to_root(request.scope), hints, recorded_methods),
            headers=HEADERS | {"Cache-Control": "private, no-cache" if run else REVALIDATE},
        )

    return router


def _document(index: Path, root: str, hints: Sequence[str], recorded_methods: Sequence[str]) -> str:
    document = _read(index).decode().replace('="./', f'="{root}app/')
    methods = escape(" ".join(recorded_methods))
    elements = [f'<meta name="camreel-recorded-methods" content="{methods}">']
    elements += [_preload_link(root + path.removeprefix("/")) for path in hints]
    head = "".join(f"  {element}\n  " for element in elements)
    return document.replace("</head>", f"{head}</head>", 1)


def _preload_link(url: str) -> str:
    # With the attributes of a request by fetch(); with others, the browser would send it twice.
    return f'<link rel="preload" as="fetch" crossorigin href="{escape(url)}">'


def _file_response(file: Path, cache_control: str) -> Response:
    media_type = mimetypes.guess_type(file.name)[0]
    headers = HEADERS | {"Cache-Control": cache_control}
    return Response(_read(file), media_type=media_type, headers=headers)


def _read(file: Path) -> bytes:
    return _cached_content(file, file.stat().st_mtime_ns)


@lru_cache(MAX_CACHED_FILES)
def _cached_content(file: Path, _modified_at_ns: int) -> bytes:
    return file.read_bytes()


def _built_files() -> dict[str, Path]:
    """All files of the page by their paths below it.

    Request paths are looked up here and never used as file system paths, which could be too long,
    name a device or leave the folder.
    """
    return {
        file.relative_to(BUILD_FOLDER).as_posix(): file
        for file in BUILD_FOLDER.rglob("*")
        if file.is_file()
    }
