"""Any bytes as an upload are accepted or refused with a problem, quickly and never with a 500."""

import time

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from PIL import Image

from tests.uploads.conftest import Application
from tests.uploads.pictures import (
    GRAY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    SIGNATURE,
    chunk,
    encode,
    palette,
    png,
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
    encode(SIX, "PNG", exif=ORIENTED, dpi=(72, 72)),
    encode(SIX, "JPEG", exif=ORIENTED),
    encode(SIX.convert("CMYK"), "JPEG"),
    encode(SIX.convert("RGB"), "JPEG", progressive=True),
]
KINDS = [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND", b"zTXt", b"iTXt", b"acTL", b"abCd"]


@st.composite
def mutated_files(draw: st.DrawFn) -> bytes:
    """A valid file with bytes changed, removed, inserted or repeated in a few places."""
    data = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        offset = draw(st.integers(0, max(0, len(data) - 1)))
        size = draw(st.integers(0, 12))
        mutation = draw(st.sampled_from(["change", "cut", "insert", "repeat", "end"]))
        new_bytes = draw(st.binary(min_size=size, max_size=size))
        data[offset : offset + (size if mutation in ("change", "cut") else 0)] = {
            "change": new_bytes,
            "insert": new_bytes,
            "repeat": bytes(data[offset : offset + size]),
        }.get(mutation, b"")
        if mutation == "end":
            del data[offset:]
    return bytes(data)


@st.composite
def pngs_of_random_chunks(draw: st.DrawFn) -> bytes:
    """A PNG of random chunks with valid checksums, in any order."""
    valid_file = draw(st.sampled_from(VALID[:6]))
    parts = [
        (kind, draw(st.binary(max_size=20))) for kind in draw(st.lists(st.sampled_from(KINDS)))
    ]
    if draw(st.booleans()):
        extra = b"".join(chunk(kind, body) for kind, body in parts)
        return valid_file[:33] + extra + valid_file[33:]  # between a valid header and its pixels
    return SIGNATURE + b"".join(chunk(kind, body) for kind, body in parts)


def expect_accepted_or_refused(application: Application, data: bytes) -> None:
    start_time = time.monotonic()
    response = application.upload(data)
    assert time.monotonic() - start_time < 5
    assert response.status_code in (201, 413, 415, 422), (response.text, data)
    if response.status_code == 201:
        location = response.headers["location"]
        assert application.request("GET", location).status_code == 200
    else:
        assert response.headers["content-type"] == "application/problem+json"


fuzz_settings = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("data", VALID)
def test_unmodified_files_are_accepted(application: Application, data: bytes) -> None:
    assert application.upload(data).status_code == 201


@fuzz_settings
@given(data=mutated_files())
def test_mutated_image_is_accepted_or_refused(application: Application, data: bytes) -> None:
    expect_accepted_or_refused(application, data)


@fuzz_settings
@given(data=pngs_of_random_chunks())
@example(data=png(slope(6), 8, PALETTE, palette([(0, 0, 0)])))
@example(data=png(slope(6), 8, PALETTE, chunk(b"PLTE", b"")))
@example(data=png(slope(6), 8, PALETTE, chunk(b"PLTE", b"\0")))
@example(data=png(slope(6), 8, PALETTE, palette([(0, 0, 0)] * 300)))
@example(data=png(slope(6), 16, 0, chunk(b"tRNS", b"")))
@example(data=png(np.stack([slope(6)] * 3, -1), 8, RGB, chunk(b"tRNS", b"\0")))
def test_png_of_random_chunks_is_accepted_or_refused(application: Application, data: bytes) -> None:
    expect_accepted_or_refused(application, data)


@fuzz_settings
@given(data=st.binary(max_size=200), start=st.sampled_from([b"", SIGNATURE, b"\xff\xd8\xff"]))
def test_random_bytes_are_accepted_or_refused(
    application: Application, data: bytes, start: bytes
) -> None:
    expect_accepted_or_refused(application, start + data)
