"""What is no picture, too large a one or a trap is refused by a problem, and nothing of it kept."""

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
from tests.uploads.conftest import Asked
from tests.uploads.pictures import (
    EPS,
    PALETTE,
    RGB,
    SIGNATURE,
    SVG,
    animated_png,
    chunk,
    head,
    of_kind,
    palette,
    pixel_bomb,
    png,
    png_of_size,
    saved,
    slope,
    text_bomb,
    wrong_checksum,
)

PNG = png(slope())
JPEG = saved(Image.fromarray(slope()), "JPEG")
HUGE = head(50_000, 50_000)


def huge_jpeg() -> bytes:
    """A JPEG whose frame says 50,000 x 50,000."""
    at = JPEG.index(b"\xff\xc0")
    return JPEG[: at + 5] + struct.pack(">HH", 50_000, 50_000) + JPEG[at + 9 :]


UNSUPPORTED = {
    "GIF": of_kind("GIF"),
    "TIFF": of_kind("TIFF"),
    "WebP": of_kind("WEBP"),
    "BMP": of_kind("BMP"),
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
    "a PNG without pixels": SIGNATURE + head(28, 28) + chunk(b"IEND"),
    "a PNG with too few pixels": SIGNATURE
    + head(28, 28)
    + chunk(b"IDAT", zlib.compress(bytes(29)))
    + chunk(b"IEND"),
    "wrong CRC of the pixels": wrong_checksum(PNG),
    "wrong CRC of the head": wrong_checksum(PNG, b"IHDR"),
    "pixels that are not compressed": SIGNATURE
    + head(28, 28)
    + chunk(b"IDAT", bytes(900))
    + chunk(b"IEND"),
    "no width": SIGNATURE + head(0, 28) + chunk(b"IEND"),
    "a depth that is none": SIGNATURE + head(28, 28, 7) + chunk(b"IEND"),
    "a colour that is none": SIGNATURE + head(28, 28, 8, 5) + chunk(b"IEND"),
    "two heads": png(slope(), 8, 0, head(1, 1)),
    "a palette that is missing": png(slope(), 8, PALETTE),
    "a length beyond the end": SIGNATURE + b"\xff\xff\xff\xff" + PNG[12:],
    "a filter that is none": SIGNATURE
    + head(28, 28)
    + chunk(b"IDAT", zlib.compress(b"\x09" * 29 * 28))
    + chunk(b"IEND"),
    "a truncated JPEG": JPEG[: len(JPEG) // 2],
    "the start of a JPEG": JPEG[:4],
    "a JPEG without a frame": b"\xff\xd8\xff\xd9",
}
REFUSED = [
    *((name, data, 415) for name, data in UNSUPPORTED.items()),
    *((name, data, 413) for name, data in TOO_LARGE.items()),
    *((name, data, 422) for name, data in DAMAGED.items()),
]


@cache
def content(data: bytes | partial[bytes]) -> bytes:
    """The bytes; of those that take long to compress, once, and not while tests are collected."""
    return data if isinstance(data, bytes) else data()


def problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in answer.text
    assert "/site-packages" not in answer.text
    return dict(answer.json())


@pytest.mark.parametrize(("name", "data", "status"), REFUSED, ids=[name for name, *_ in REFUSED])
def test_what_is_no_fit_picture_is_refused(
    shared: Asked, name: str, data: bytes | partial[bytes], status: int
) -> None:
    body = problem(shared.upload(content(data)), status)
    assert body["detail"]


@pytest.mark.parametrize(("name", "data", "status"), REFUSED, ids=[name for name, *_ in REFUSED])
def test_neither_its_name_nor_its_type_makes_it_a_picture(
    shared: Asked, name: str, data: bytes | partial[bytes], status: int
) -> None:
    typed = {"content-type": "image/png"}
    params = {"dataset": "digits"}
    body = content(data)
    problem(shared.ask("POST", "/images", params=params, content=body, headers=typed), status)
    files = {"file": ("picture.png", body, "image/png")}
    problem(shared.ask("POST", "/images", params=params, files=files), status)


@pytest.mark.parametrize("data", [PNG, JPEG], ids=["png", "jpeg"])
def test_a_picture_is_told_by_its_bytes_alone(shared: Asked, data: bytes) -> None:
    for name, media_type in [("x.txt", "text/plain"), ("x.gif", "image/gif"), ("../../x", "")]:
        files = {"file": (name, data, media_type)}
        answer = shared.ask("POST", "/images", params={"dataset": "digits"}, files=files)
        assert answer.status_code == 201, answer.text


def many_notes() -> bytes:
    """A PNG whose 64 notes expand to a megabyte each."""
    note = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(2**20), 9))
    return png(slope(), 8, 0, *[note] * 64)


TRAPS: dict[str, bytes | partial[bytes]] = {
    **{name: partial(text_bomb, name.encode()) for name in ("zTXt", "iTXt", "iCCP")},
    "pixels": partial(pixel_bomb),
    "many notes": partial(many_notes),
    "huge head": TOO_LARGE["50,000 x 50,000"],
}


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_is_never_expanded(name: str) -> None:
    data = content(TRAPS[name])
    tracemalloc.start()
    try:
        # A pixel's bomb may give its one pixel; nothing may give all that is in it.
        convert_upload(data, (1, 28, 28), 0, max_pixels=40_000_000)
    except ImageTooLarge:
        pass
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 8 * 2**20


def test_small_notes_are_no_bombs(shared: Asked) -> None:
    note = chunk(b"zTXt", b"Title\0\0" + zlib.compress(b"a seven"))
    assert shared.upload(png(slope(), 8, 0, note)).status_code == 201


def test_the_most_pixels_are_a_setting(application: Callable[..., Asked]) -> None:
    small = application(max_upload_pixels=2000)
    assert small.upload(png(slope(40))).status_code == 201
    body = problem(small.upload(png(slope(45))), 413)
    assert "45 x 45" in body["detail"]
    assert "2000" in body["detail"]


def test_the_most_bytes_are_a_setting(application: Callable[..., Asked]) -> None:
    small = application(max_upload_bytes=5000)
    body = problem(small.upload(PNG + bytes(5000)), 413)
    assert "5000" in body["detail"]

    async def chunks() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(10):
            yield bytes(1000)

    for media_type in ("image/png", "multipart/form-data; boundary=x"):
        headers = {"content-type": media_type}
        answer = small.ask("POST", "/images", content=chunks(), headers=headers)
        problem(answer, 413)


def test_a_json_body_has_its_own_bound_however_it_comes(shared: Asked) -> None:
    async def chunks() -> Any:
        for _ in range(20):
            yield b" " * 2**16

    headers = {"content-type": "application/json"}
    problem(shared.ask("POST", "/runs", content=b" " * (2**20 + 1), headers=headers), 413)
    problem(shared.ask("POST", "/runs", content=chunks(), headers=headers), 413)


@pytest.mark.parametrize(
    ("more", "status"),
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
def test_another_body_is_a_problem(shared: Asked, more: dict[str, Any], status: int) -> None:
    problem(shared.ask("POST", "/images", **more), status)


def test_nothing_of_what_was_refused_is_kept(application: Callable[..., Asked]) -> None:
    app = application()
    for _, data, _ in REFUSED[:6]:
        app.upload(data)
    with app.services.store.read_session() as session:
        assert session.scalar(text("SELECT count(*) FROM uploads")) == 0
        assert session.scalar(text("SELECT count(*) FROM images")) == 0


def test_colour_of_rgb_is_not_left_in_gray(shared: Asked) -> None:
    levels = io.BytesIO(png([[[255, 0, 0]]], 8, RGB) + palette([(0, 0, 0)])).getvalue()
    answer = shared.upload(levels)
    assert answer.status_code == 201
    assert answer.json()["conversion"]["converted_from"] == "RGB"


@pytest.mark.parametrize(
    "media_type",
    ["image/jpg", "image/pjpeg", "IMAGE/JPEG", "image/jpeg; charset=binary", "image/x-png"],
)
def test_other_names_of_the_media_types_are_taken_as_body_and_in_a_form(
    shared: Asked, media_type: str
) -> None:
    params = {"dataset": "digits"}
    headers = {"content-type": media_type}
    body = shared.ask("POST", "/images", params=params, content=JPEG, headers=headers)
    assert body.status_code == 201, body.text
    files = {"file": ("photo", JPEG, media_type)}
    form = shared.ask("POST", "/images", params=params, files=files)
    assert form.json()["reference"] == body.json()["reference"]
