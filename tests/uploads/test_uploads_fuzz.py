"""Whatever bytes come, an upload is taken or refused by a problem: never an error of the service's,
and never for long."""

import time

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from PIL import Image

from tests.uploads.conftest import Asked
from tests.uploads.pictures import (
    GRAY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    SIGNATURE,
    chunk,
    palette,
    png,
    saved,
    slope,
)

ORIENTED = Image.Exif()
ORIENTED[0x0112] = 6
SIX = Image.fromarray(slope(6))
VALID = [
    png(slope(6)),
    png(slope(6).astype(int) * 257, 16),
    png(np.stack([slope(6)] * 3, -1), 8, RGB, chunk(b"tRNS", bytes(6))),
    png(np.stack([slope(6)] * 4, -1), 8, RGBA),
    png(np.stack([slope(6)] * 2, -1), 8, GRAY_ALPHA),
    png(slope(6) % 2, 8, PALETTE, palette([(0, 0, 0), (9, 9, 9)]), chunk(b"tRNS", b"\0\xff")),
    saved(SIX, "PNG", exif=ORIENTED, dpi=(72, 72)),
    saved(SIX, "JPEG", exif=ORIENTED),
    saved(SIX.convert("CMYK"), "JPEG"),
    saved(SIX.convert("RGB"), "JPEG", progressive=True),
]
KINDS = [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND", b"zTXt", b"iTXt", b"acTL", b"abCd"]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid file with bytes changed, cut out, put in or repeated in a few places."""
    data = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        size = draw(st.integers(0, 12))
        what = draw(st.sampled_from(["change", "cut", "insert", "repeat", "end"]))
        some = draw(st.binary(min_size=size, max_size=size))
        data[at : at + (size if what in ("change", "cut") else 0)] = {
            "change": some,
            "insert": some,
            "repeat": bytes(data[at : at + size]),
        }.get(what, b"")
        if what == "end":
            del data[at:]
    return bytes(data)


@st.composite
def chunked(draw: st.DrawFn) -> bytes:
    """Chunks of the right form, in any order: their checksums are right, so that they are read."""
    complete_file = draw(st.sampled_from(VALID[:6]))
    parts = [
        (item_type, draw(st.binary(max_size=20)))
        for item_type in draw(st.lists(st.sampled_from(KINDS)))
    ]
    if draw(st.booleans()):
        extra = b"".join(chunk(item_type, body) for item_type, body in parts)
        return (
            complete_file[:33] + extra + complete_file[33:]
        )  # between a right head and its pixels
    return SIGNATURE + b"".join(chunk(item_type, body) for item_type, body in parts)


def taken_or_refused(shared: Asked, data: bytes) -> None:
    start_time = time.monotonic()
    answer = shared.upload(data)
    assert time.monotonic() - start_time < 5
    assert answer.status_code in (201, 413, 415, 422), (answer.text, data)
    if answer.status_code == 201:
        where = answer.headers["location"]
        assert shared.ask("GET", where).status_code == 200
    else:
        assert answer.headers["content-type"] == "application/problem+json"


quickly = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("data", VALID)
def test_the_files_that_are_changed_are_right_ones(shared: Asked, data: bytes) -> None:
    assert shared.upload(data).status_code == 201


@quickly
@given(data=mutated())
def test_a_mutated_picture_is_taken_or_refused(shared: Asked, data: bytes) -> None:
    taken_or_refused(shared, data)


@quickly
@given(data=chunked())
@example(data=png(slope(6), 8, PALETTE, palette([(0, 0, 0)])))
@example(data=png(slope(6), 8, PALETTE, chunk(b"PLTE", b"")))
@example(data=png(slope(6), 8, PALETTE, chunk(b"PLTE", b"\0")))
@example(data=png(slope(6), 8, PALETTE, palette([(0, 0, 0)] * 300)))
@example(data=png(slope(6), 16, 0, chunk(b"tRNS", b"")))
@example(data=png(np.stack([slope(6)] * 3, -1), 8, RGB, chunk(b"tRNS", b"\0")))
def test_a_png_of_any_chunks_is_taken_or_refused(shared: Asked, data: bytes) -> None:
    taken_or_refused(shared, data)


@quickly
@given(data=st.binary(max_size=200), start=st.sampled_from([b"", SIGNATURE, b"\xff\xd8\xff"]))
def test_any_bytes_are_refused(shared: Asked, data: bytes, start: bytes) -> None:
    taken_or_refused(shared, start + data)
