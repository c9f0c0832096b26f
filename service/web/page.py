"""The page's files, built from `web/` when the package is installed.

Its routes are the page's own, below /app, so any path there that is no file is the page itself.
"""

from pathlib import Path, PurePosixPath

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, PlainTextResponse, RedirectResponse

BUILT = Path(__file__).parent / "page"

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

router = APIRouter(include_in_schema=False)


@router.get("/")
def start() -> RedirectResponse:
    """Whoever opens the service's address sees the page."""
    return RedirectResponse("/app", status_code=307)


@router.get("/app")
@router.get("/app/{path:path}")
def page(path: str = "") -> Response:
    """A built file; for everything else the page, which knows what the path means."""
    file = _built(path)
    if file is not None:
        # Vite names assets by their content: another content is another address.
        kept = "public, max-age=31536000, immutable" if path.startswith("assets/") else "no-cache"
        return FileResponse(file, headers=HEADERS | {"Cache-Control": kept})
    index = BUILT / "index.html"
    if not index.is_file():
        return PlainTextResponse(NOT_BUILT, status_code=404)
    if path.startswith("assets/"):
        return PlainTextResponse("No such file.\n", status_code=404)
    return FileResponse(index, headers=HEADERS | {"Cache-Control": "no-cache"})


def _built(path: str) -> Path | None:
    """The file of that path below the built page, or None: nothing beyond it is ever served."""
    parts = PurePosixPath(path).parts
    if not parts or ".." in parts or "\x00" in path:
        return None
    file = BUILT.joinpath(*parts)
    inside = file.resolve().is_relative_to(BUILT.resolve())
    return file if inside and file.is_file() else None
