"""Path traversal: paths of requests never reach other files; each is found or 404."""

import pytest

from tests.access.conftest import GuardedService

SEGMENTS = {
    "256 characters": "a" * 256,
    "256 bytes of a few characters": "%E3%81%82" * 86,
    "6,000 characters": "a" * 6000,
    "600 folders": "a/" * 600,
    "NUL": "%00",
    "NUL inside": "a%00b.css",
    "invalid UTF-8": "%ff%fe",
    "half a surrogate": "%ed%a0%80",
    "overlong slash": "%c0%af",
    "line ends": "a%0d%0ab",
    "up": "../../page.py",
    "up, escaped": "%2e%2e/%2e%2e/page.py",
    "up, all escaped": "..%2f..%2fpage.py",
    "up, escaped twice": "%252e%252e%252fpage.py",
    "up by backslashes": "..%5c..%5cpage.py",
    "absolute": "/etc/passwd",
    "absolute, escaped": "%2fetc%2fpasswd",
    "a drive": "C:%5cWindows%5cwin.ini",
    "a share": "%5c%5cserver%5cshare",
    "a device of Windows": "CON",
    "a device with an extension": "aux.css",
    "a stream": "index.html::$DATA",
    "a home": "~root",
    "below a file": "index.html/x",
    "a folder": "assets",
    "a folder with a slash": "assets/",
    "this folder": "./.",
    "nothing": "",
}
FOLDERS = ["/app/", "/app/assets/", "/static-offline-docs/", "/images/", "/"]


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("segment", SEGMENTS.values(), ids=SEGMENTS)
def test_unusual_path_is_found_or_404(
    guarded_service: GuardedService, folder: str, segment: str
) -> None:
    token = f"Bearer {guarded_service.tokens['admin']}".encode()
    headers = [(b"host", b"localhost"), (b"authorization", token)]
    status, body = guarded_service.get_raw(folder + segment, headers)
    assert status in (200, 307, 404, 422), body
    if folder in ("/app/assets/", "/static-offline-docs/"):
        assert status == 404
    if status == 200:
        assert body.startswith(b"<!doctype html>")
    for part in (b"site-packages", b"service/web", b"root:", b"Traceback", b"Errno"):
        assert part not in body


def test_page_is_returned_for_its_client_routes(guarded_service: GuardedService) -> None:
    page = guarded_service.request("GET", "/app")
    if page.status_code == 404:
        pytest.skip("the page is not built")
    for path in ("/app/index.html", "/app/nowhere"):
        assert guarded_service.request("GET", path).text.count("<script") == page.text.count(
            "<script"
        )
