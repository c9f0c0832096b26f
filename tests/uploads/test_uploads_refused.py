"""Files that are no images, too large or malicious are refused, and nothing of them is stored."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import text

from service.core.jpeg_segments import MAX_SCANS
from service.core.uploads import convert_upload
from service.errors import ImageTooLarge
from tests.uploads.conftest import Application
from tests.uploads.pictures import (
    EPS,
    PALETTE,
    RGB,
    SIGNATURE,
    SVG,
    animated_png,
    chunk,
    encode,
    encode_slope,
    header_chunk,
    palette,
    pixel_bomb,
    png,
    png_of_size,
    slope,
    text_bomb,
    with_wrong_checksum,
)

PNG = png(slope())
JPEG = encode(Image.fromarray(slope()), "JPEG")
HUGE = header_chunk(50_000, 50_000)


def huge_jpeg() -> bytes:
    """A JPEG whose frame header says 50,000 x 50,000."""
    offset = JPEG.index(b"\xff\xc0")
    return JPEG[: offset + 5] + struct.pack(">HH", 50_000, 50_000) + JPEG[offset + 9 :]


UNSUPPORTED = {
    "GIF": encode_slope("GIF"),
    "TIFF": encode_slope("TIFF"),
    "WebP": encode_slope("WEBP"),
    "BMP": encode_slope("BMP"),
    "SVG": SVG,
    "EPS": EPS,
    "animated PNG": animated_png(),
    "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "text": b"hello",
    "one byte": b"\x89",
}
TOO_LARGE: dict[str, bytes | partial[bytes]] = {
    "50,000 x 50,000": SIGNATURE + HUGE + chunk(b"IDAT", b"") + chunk(b"IEND"),
    "50,000 x 50,000 and nothing else": SIGNATURE + HUGE,
    "a JPEG of 50,000 x 50,000": huge_jpeg(),
    "zTXt bomb": partial(text_bomb, b"zTXt"),
    "iTXt bomb": partial(text_bomb, b"iTXt"),
    "iCCP bomb": partial(text_bomb, b"iCCP"),
    "many scans": JPEG[:-2] + JPEG[JPEG.index(b"\xff\xda") : -2] * MAX_SCANS + JPEG[-2:],
    "many segments": JPEG[:2] + b"\xff\xe1\0\x08Exif\0\0" * 150_000 + JPEG[2:],
    "40,000,000 x 1": partial(png_of_size, 40_000_000, 1),
    "1 x 40,000,000": partial(png_of_size, 1, 40_000_000),
}
DAMAGED = {
    "empty": b"",
    "a signature": SIGNATURE,
    "a truncated PNG": PNG[: len(PNG) // 2],
    "a PNG without its end": PNG[:-12],
    "a PNG without pixels": SIGNATURE + header_chunk(28, 28) + chunk(b"IEND"),
    "a PNG with too few pixels": SIGNATURE
    + header_chunk(28, 28)
    + chunk(b"IDAT", zlib.compress(bytes(29)))
    + chunk(b"IEND"),
    "wrong CRC of the pixels": with_wrong_checksum(PNG),
    "wrong CRC of the header": with_wrong_checksum(PNG, b"IHDR"),
    "pixels that are not compressed": SIGNATURE
    + header_chunk(28, 28)
    + chunk(b"IDAT", bytes(900))
    + chunk(b"IEND"),
    "no width": SIGNATURE + header_chunk(0, 28) + chunk(b"IEND"),
    "an invalid depth": SIGNATURE + header_chunk(28, 28, 7) + chunk(b"IEND"),
    "an invalid color type": SIGNATURE + header_chunk(28, 28, 8, 5) + chunk(b"IEND"),
    "two headers": png(slope(), 8, 0, header_chunk(1, 1)),
    "a missing palette": png(slope(), 8, PALETTE),
    "a length beyond the end": SIGNATURE + b"\xff\xff\xff\xff" + PNG[12:],
    "an invalid filter": SIGNATURE
    + header_chunk(28, 28)
    + chunk(b"IDAT", zlib.compress(b"\x09" * 29 * 28))
    + chunk(b"IEND"),
    "a truncated JPEG": JPEG[: len(JPEG) // 2],
    "the start of a JPEG": JPEG[:4],
    "a JPEG without a frame": b"\xff\xd8\xff\xd9",
}
REFUSED_FILES = [
    *((name, data, 415) for name, data in UNSUPPORTED.items()),
    *((name, data, 413) for name, data in TOO_LARGE.items()),
    *((name, data, 422) for name, data in DAMAGED.items()),
]


@cache
def content(data: bytes | partial[bytes]) -> bytes:
    """The bytes; large files are compressed once, and not during test collection."""
    return data if isinstance(data, bytes) else data()


def expect_problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in response.text
    assert "/site-packages" not in response.text
    return dict(response.json())


@pytest.mark.parametrize(
    ("name", "data", "status"), REFUSED_FILES, ids=[name for name, *_ in REFUSED_FILES]
)
def test_unsupported_too_large_or_damaged_file_is_refused(
    application: Application, name: str, data: bytes | partial[bytes], status: int
) -> None:
    body = expect_problem(application.upload(content(data)), status)
    assert body["detail"]


@pytest.mark.parametrize(
    ("name", "data", "status"), REFUSED_FILES, ids=[name for name, *_ in REFUSED_FILES]
)
def test_name_and_media_type_do_not_make_a_file_an_image(
    application: Application, name: str, data: bytes | partial[bytes], status: int
) -> None:
    headers = {"content-type": "image/png"}
    params = {"dataset": "digits"}
    body = content(data)
    expect_problem(
        application.request("POST", "/images", params=params, content=body, headers=headers), status
    )
    files = {"file": ("picture.png", body, "image/png")}
    expect_problem(application.request("POST", "/images", params=params, files=files), status)


@pytest.mark.parametrize("data", [PNG, JPEG], ids=["png", "jpeg"])
def test_image_is_recognized_by_its_bytes_alone(application: Application, data: bytes) -> None:
    for name, media_type in [("x.txt", "text/plain"), ("x.gif", "image/gif"), ("../../x", "")]:
        files = {"file": (name, data, media_type)}
        response = application.request("POST", "/images", params={"dataset": "digits"}, files=files)
        assert response.status_code == 201, response.text


def many_text_chunks() -> bytes:
    """A PNG with 64 text chunks that expand to a megabyte each."""
    note = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(2**20), 9))
    return png(slope(), 8, 0, *[note] * 64)


BOMBS: dict[str, bytes | partial[bytes]] = {
    **{name: partial(text_bomb, name.encode()) for name in ("zTXt", "iTXt", "iCCP")},
    "pixels": partial(pixel_bomb),
    "many text chunks": partial(many_text_chunks),
    "huge header": TOO_LARGE["50,000 x 50,000"],
}


@pytest.mark.parametrize("name", BOMBS)
def test_decompression_bomb_is_never_expanded(name: str) -> None:
    data = content(BOMBS[name])
    tracemalloc.start()
    try:
        # The pixel bomb may return its one pixel, but nothing may be expanded completely.
        convert_upload(data, (1, 28, 28), 0, max_pixels=40_000_000)
    except ImageTooLarge:
        pass
    finally:
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak_bytes < 8 * 2**20


def test_small_text_chunks_are_accepted(application: Application) -> None:
    note = chunk(b"zTXt", b"Title\0\0" + zlib.compress(b"a seven"))
    assert application.upload(png(slope(), 8, 0, note)).status_code == 201


def test_pixel_limit_is_configurable(new_application: Callable[..., Application]) -> None:
    small = new_application(max_upload_pixels=2000)
    assert small.upload(png(slope(40))).status_code == 201
    body = expect_problem(small.upload(png(slope(45))), 413)
    assert "45 x 45" in body["detail"]
    assert "2000" in body["detail"]


def test_byte_limit_is_configurable(new_application: Callable[..., Application]) -> None:
    small = new_application(max_upload_bytes=5000)
    body = expect_problem(small.upload(PNG + bytes(5000)), 413)
    assert "5000" in body["detail"]

    async def chunks() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(10):
            yield bytes(1000)

    for media_type in ("image/png", "multipart/form-data; boundary=x"):
        headers = {"content-type": media_type}
        response = small.request("POST", "/images", content=chunks(), headers=headers)
        expect_problem(response, 413)


def test_json_body_has_its_own_limit(application: Application) -> None:
    async def chunks() -> Any:
        for _ in range(20):
            yield b" " * 2**16

    headers = {"content-type": "application/json"}
    expect_problem(
        application.request("POST", "/runs", content=b" " * (2**20 + 1), headers=headers), 413
    )
    expect_problem(application.request("POST", "/runs", content=chunks(), headers=headers), 413)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"json": {}}, 415),
        ({"content": PNG}, 415),
        ({"data": {"file": "text"}}, 415),
        ({"files": {"other": PNG}}, 422),
        ({"files": [("file", PNG), ("file", PNG)]}, 400),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=y"}}, 400),
        ({"content": PNG, "headers": {"content-type": "image/svg+xml"}}, 415),
        ({"files": {"file": PNG}, "params": {"dataset": "cats"}}, 422),
        ({"files": {"file": PNG}, "params": {"invert": "perhaps"}}, 422),
        ({"files": {"file": PNG}, "headers": {"Idempotency-Key": "k" * 129}}, 422),
        ({"files": {"file": PNG}, "headers": {"Idempotency-Key": "Ä".encode()}}, 422),
    ],
)
def test_invalid_upload_request_is_a_problem(
    application: Application, options: dict[str, Any], status: int
) -> None:
    expect_problem(application.request("POST", "/images", **options), status)


def test_refused_files_are_not_stored(new_application: Callable[..., Application]) -> None:
    app = new_application()
    for _, data, _ in REFUSED_FILES[:6]:
        app.upload(data)
    with app.services.store.read_session() as session:
        assert session.scalar(text("SELECT count(*) FROM uploads")) == 0
        assert session.scalar(text("SELECT count(*) FROM images")) == 0


def test_rgb_is_converted_to_gray(application: Application) -> None:
    levels = io.BytesIO(png([[[255, 0, 0]]], 8, RGB) + palette([(0, 0, 0)])).getvalue()
    response = application.upload(levels)
    assert response.status_code == 201
    assert response.json()["conversion"]["converted_from"] == "RGB"


@pytest.mark.parametrize(
    "media_type",
    ["image/jpg", "image/pjpeg", "IMAGE/JPEG", "image/jpeg; charset=binary", "image/x-png"],
)
def test_alternative_media_types_are_accepted(application: Application, media_type: str) -> None:
    params = {"dataset": "digits"}
    headers = {"content-type": media_type}
    body = application.request("POST", "/images", params=params, content=JPEG, headers=headers)
    assert body.status_code == 201, body.text
    files = {"file": ("photo", JPEG, media_type)}
    form = application.request("POST", "/images", params=params, files=files)
    assert form.json()["reference"] == body.json()["reference"]
