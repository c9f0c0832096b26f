"""Downloads can be resumed with `Range` and `If-Range` as specified in RFC 9110."""

from typing import Any

import pytest

from service.api.errors import RangeNotSatisfiable
from service.api.middleware.range_requests import parse_range
from tests.access.conftest import GuardedService

EPOCH = "/runs/1/epochs/1"
CHECKPOINT = f"{EPOCH}/checkpoint"
DOWNLOADS = [
    CHECKPOINT,
    f"{EPOCH}/cam",
    f"{EPOCH}/cam.npy",
    "/runs/1/strip",
    "/runs/1/strip.npz",
    "/runs/1/strip.gif",
    "/runs/1/strip.webp",
    "/runs/1/sheet",
    "/runs/1/probes.png",
    "/runs/1/atlas.bin",
    "/runs/1/epochs.csv",
    "/runs/1/blanks.csv",
    "/runs/1/report.html",
    "/images/test:0?dataset=digits",
]


def get(service: GuardedService, path: str, **headers: str) -> Any:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return service.request("GET", path, "read", headers=fields)


@pytest.mark.parametrize("path", DOWNLOADS)
def test_two_ranges_make_the_complete_download(trained_service: GuardedService, path: str) -> None:
    raw = {"accept-encoding": "identity"}
    complete_file = trained_service.request("GET", path, "read", headers=raw)
    assert (complete_file.status_code, complete_file.headers["accept-ranges"]) == (200, "bytes")
    size, etag = len(complete_file.content), complete_file.headers["etag"]
    first_response = trained_service.request(
        "GET", path, "read", headers=raw | {"range": "bytes=0-99"}
    )
    remaining_range = {"range": "bytes=100-", "if-range": etag}
    second_response = trained_service.request("GET", path, "read", headers=raw | remaining_range)
    assert (first_response.status_code, second_response.status_code) == (206, 206)
    assert first_response.content + second_response.content == complete_file.content
    assert first_response.headers["content-range"] == f"bytes 0-99/{size}"
    assert second_response.headers["content-range"] == f"bytes 100-{size - 1}/{size}"
    assert second_response.headers["content-length"] == str(size - 100)
    for name in ("etag", "content-type", "cache-control"):
        assert second_response.headers[name] == complete_file.headers[name]


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("BYTES=5-9", slice(5, 10)),
        ("bytes= 5-9 ", slice(5, 10)),
        ("bytes=90-", slice(90, 100)),
        ("bytes=90-1000000", slice(90, 100)),
        ("bytes=0-" + "9" * 5000, slice(0, 100)),
        ("bytes=00000000000000000000005-9", slice(5, 10)),
        ("bytes=-1", slice(99, 100)),
        ("bytes=-100", slice(0, 100)),
        ("bytes=-5000", slice(0, 100)),
    ],
)
def test_range_of_100_bytes_is_parsed(field: str, part: slice) -> None:
    assert parse_range([field], 100) == part


@pytest.mark.parametrize("field", ["bytes=100-", "bytes=100-200", "bytes=-0", f"bytes={9**99}-"])
def test_range_beyond_the_end_is_not_satisfiable(field: str) -> None:
    with pytest.raises(RangeNotSatisfiable, match="100"):
        parse_range([field], 100)


@pytest.mark.parametrize(
    "field",
    ["", "bytes", "bytes=", "bytes=-", "bytes=9-5", "bytes=a-b", "bytes=1_0-20", "bytes=٣-٥",
     "bytes=--5", "bytes=5", "bytes=0-1,5-9", "bytes=0-1, 500-", "items=0-5", "bytes 0-5",
     "bytes=0x1-5", "bytes=+1-5", "bytes=0 - 5"],
)  # fmt: skip
def test_invalid_or_multiple_ranges_are_ignored(
    trained_service: GuardedService, field: str
) -> None:
    assert parse_range([field], 100) is None
    if field.isascii():
        response = get(trained_service, CHECKPOINT, range=field)
        assert (response.status_code, "content-range" in response.headers) == (200, False)


def test_several_range_fields_are_ignored() -> None:
    assert parse_range(["bytes=0-1", "bytes=5-9"], 100) is None
    assert parse_range([], 100) is None
    assert parse_range(["bytes=-5"], 0) is None


def test_request_beyond_the_end_is_416_with_the_length(trained_service: GuardedService) -> None:
    size = get(trained_service, CHECKPOINT).headers["content-length"]
    response = get(trained_service, CHECKPOINT, range=f"bytes={size}-")
    assert response.status_code == 416
    assert response.headers["content-range"] == f"bytes */{size}"
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "range-not-satisfiable"


def test_if_range_of_another_version_returns_the_complete_file(
    trained_service: GuardedService,
) -> None:
    etag = get(trained_service, CHECKPOINT).headers["etag"]
    for validator in (
        '"other"',
        f"W/{etag}",
        "Thu, 26 Nov 2026 10:00:00 GMT",
        etag.strip('"'),
        "*",
    ):
        assert (
            get(trained_service, CHECKPOINT, range="bytes=0-9", if_range=validator).status_code
            == 200
        )
    # Also for an invalid range, because it refers to the other version.
    assert (
        get(trained_service, CHECKPOINT, range="bytes=999999999-", if_range='"other"').status_code
        == 200
    )
    assert get(trained_service, CHECKPOINT, range="bytes=0-9", if_range=etag).status_code == 206


def test_if_none_match_takes_precedence_over_range(trained_service: GuardedService) -> None:
    etag = get(trained_service, CHECKPOINT).headers["etag"]
    response = get(trained_service, CHECKPOINT, range="bytes=0-9", if_none_match=etag)
    assert (response.status_code, response.content) == (304, b"")
    assert "content-range" not in response.headers
    other_response = get(trained_service, CHECKPOINT, range="bytes=0-9", if_none_match='"other"')
    assert other_response.status_code == 206


def test_ranges_do_not_apply_to_errors_and_head(trained_service: GuardedService) -> None:
    missing = get(trained_service, "/runs/1/epochs/9/checkpoint", range="bytes=0-9")
    assert missing.status_code == 404
    head = trained_service.request("HEAD", CHECKPOINT, "read", headers={"range": "bytes=0-9"})
    assert (head.status_code, head.headers["accept-ranges"]) == (200, "bytes")
    assert (
        head.headers["content-length"] == get(trained_service, CHECKPOINT).headers["content-length"]
    )
