"""The page's files, built from `web/` when the package is installed.

Its routes are the page's own, below /app, so any path there that is no file is the page itself.
The document names its files and the API relative to its own address: a proxy may put the service
below any path, and need not say below which.
"""

import mimetypes
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from html import escape
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

BUILT = Path(__file__).parent / "page"

MAX_FILES = 32
"""Kept in memory: they are few and small, and everyone who opens the page waits for them."""

REVALIDATED = "no-cache"

NOT_BUILT = (
    "This installation has no page: it was built with CAMREEL_SKIP_PAGE. The API is at /docs.\n"
)

POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
"""All comes from this service. Inline styles are uPlot's, which places its cursor by them."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

FirstAsked = Callable[[Request, int], Sequence[str]]
"""What the page of a run requests first: paths of the API."""

_RUN = re.compile(r"runs/([1-9]\d{0,17})/?", re.ASCII)


def pages(first_asked: FirstAsked) -> APIRouter:
    """The page's routes. A run's document names what `first_asked` tells, so that a browser asks
    for it while it reads the script, and not after.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def start() -> Response:
        """Whoever opens the service's address sees the page."""
        return Response(status_code=307, headers={"Location": "app"})

    @router.get("/app")
    @router.get("/app/{path:path}")
    def page(request: Request, path: str = "") -> Response:
        """A built file; for everything else the page, which knows what the path means."""
        built = _built_files()
        file = built.get(path)
        if file is not None and path != "index.html":
            # Vite names assets by their content: another content is another address.
            kept = (
                "public, max-age=31536000, immutable" if path.startswith("assets/") else REVALIDATED
            )
            return _file(file, kept)
        index = built.get("index.html")
        if index is None:
            return PlainTextResponse(NOT_BUILT, status_code=404)
        if path.startswith("assets/"):
            return PlainTextResponse("No such file.\n", status_code=404)
        run = _RUN.fullmatch(path)
        paths = first_asked(request, int(run[1])) if run else ()
        return HTMLResponse(
            _document(index, _path_to_root(request), paths),
            headers=HEADERS | {"Cache-Control": "private, no-cache" if run else REVALIDATED},
        )

    return router


def _path_to_root(request: Request) -> str:
    """The service's address relative to the request's: `./` from /app, `../../` from /app/runs/1.

    Counted in the path as it was sent: to a browser, an escaped slash separates nothing.
    """
    sent = request.scope.get("raw_path") or request.scope["path"].encode()
    return "../" * (sent.count(b"/") - 1) or "./"


def _document(index: Path, root: str, first_paths: Sequence[str]) -> str:
    document = _read(index).decode().replace('="./', f'="{root}app/')
    hints = "".join(_hint(root + path.removeprefix("/")) for path in first_paths)
    return document.replace("</head>", f"{hints}</head>", 1)


def _hint(address: str) -> str:
    # Of the kind that fetch() makes, or the browser would ask twice.
    return f'  <link rel="preload" as="fetch" crossorigin href="{escape(address)}">\n  '


def _file(file: Path, kept: str) -> Response:
    kind = mimetypes.guess_type(file.name)[0]
    return Response(_read(file), media_type=kind, headers=HEADERS | {"Cache-Control": kept})


def _read(file: Path) -> bytes:
    return _content(file, file.stat().st_mtime_ns)


@lru_cache(MAX_FILES)
def _content(file: Path, _changed_at: int) -> bytes:
    return file.read_bytes()


def _built_files() -> dict[str, Path]:
    """All files of the page by their paths below it.

    A request's path is looked up here, and never made a path of the file system: it may be too
    long for one, name a device, or lead elsewhere.
    """
    return {file.relative_to(BUILT).as_posix(): file for file in BUILT.rglob("*") if file.is_file()}
