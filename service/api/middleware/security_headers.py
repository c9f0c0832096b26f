"""Security headers of every response."""

from starlette.types import Scope

POLICY = (
    b"default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
    b"form-action 'self'"
)
DOCS_POLICY = (
    # Swagger UI needs an inline script and icons from data: URLs.
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
    b"form-action 'self'"
)
REPORT_POLICY = (
    # A report is a single file with inline styles and images, and no script.
    b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    b"frame-ancestors 'none'; form-action 'none'"
)

HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}
CONTENT_POLICY = b"content-security-policy"
HSTS = (b"strict-transport-security", b"max-age=31536000")


def add_security_headers(headers: list[tuple[bytes, bytes]], scope: Scope) -> None:
    """Add the headers that a response does not set itself; the page sets its own policy."""
    names = {name for name, _ in headers}
    headers += [field for field in HEADERS.items() if field[0] not in names]
    if CONTENT_POLICY not in names:
        headers.append((CONTENT_POLICY, _policy(scope["path"])))
    if scope["scheme"] == "https" and HSTS[0] not in names:
        headers.append(HSTS)


def _policy(path: str) -> bytes:
    if path == "/docs":
        return DOCS_POLICY
    return REPORT_POLICY if path.endswith("/report.html") else POLICY
