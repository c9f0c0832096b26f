"""The page's files, built from `web/` when the package is installed.

Its routes are the page's own, below /app, so any path there that is no file is the page itself.
"""

import mimetypes
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from html import escape
from pathlib import Path, PurePosixPath

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse

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
"""What the page of a run will ask for first: addresses as its script writes them."""

_RUN = re.compile(r"runs/([1-9]\d{0,17})/?", re.ASCII)


def pages(first_asked: FirstAsked) -> APIRouter:
    """The page's routes. A run's document names what `first_asked` tells, so that a browser asks
    for it while it reads the script, and not after.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def start() -> RedirectResponse:
        """Whoever opens the service's address sees the page."""
        return RedirectResponse("/app", status_code=307)

    @router.get("/app")
    @router.get("/app/{path:path}")
    def page(request: Request, path: str = "") -> Response:
        """A built file; for everything else the page, which knows what the path means."""
        file = _built(path)
        if file is not None:
            # Vite names assets by their content: another content is another address.
            kept = (
                "public, max-age=31536000, immutable" if path.startswith("assets/") else REVALIDATED
            )
            return _file(file, kept)
        index = BUILT / "index.html"
        if not index.is_file():
            return PlainTextResponse(NOT_BUILT, status_code=404)
        if path.startswith("assets/"):
            return PlainTextResponse("No such file.\n", status_code=404)
        run = _RUN.fullmatch(path)
        if run is None:
            return _file(index, REVALIDATED)
        document = _read(index).decode()
        hints = "".join(map(_hint, first_asked(request, int(run[1]))))
        return HTMLResponse(
            document.replace("</head>", f"{hints}</head>", 1),
            headers=HEADERS | {"Cache-Control": "private, no-cache"},
        )

    return router


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


def _built(path: str) -> Path | None:
    """The file of that path below the built page, or None: nothing beyond it is ever served."""
    parts = PurePosixPath(path).parts
    if not parts or ".." in parts or "\x00" in path:
        return None
    file = BUILT.joinpath(*parts)
    inside = file.resolve().is_relative_to(BUILT.resolve())
    return file if inside and file.is_file() else None
