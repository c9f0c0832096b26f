"""JPEGs: whole ones of every kind are taken, incomplete ones refused, by structure alone."""

import io
import struct
import time

import numpy as np
import pytest
from PIL import Image

from service.core.jpeg_segments import MAX_SCANS, MAX_SEGMENTS
from service.core.uploads import read_upload
from service.errors import ImageTooLarge, InvalidValue, UnsupportedImage
from tests.uploads.pictures import saved

EOI = b"\xff\xd9"
MAX_PIXELS = 10**6


def photo(side: int = 96) -> Image.Image:
    """Color with noise, so that a scan's data are many bytes."""
    levels = np.random.default_rng(0).integers(0, 256, (side // 4, side // 4, 3), np.uint8)
    return Image.fromarray(levels).resize((side, side), Image.Resampling.BICUBIC)


VARIANTS = {
    "baseline": {},
    "quality 5": {"quality": 5},
    "quality 100": {"quality": 100},
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2},
    "progressive": {"progressive": True},
    "optimized": {"optimize": True},
    "restart markers": {"restart_marker_blocks": 2},
    "progressive with restart markers": {"progressive": True, "restart_marker_rows": 1},
}
MODES = ["L", "RGB", "CMYK"]


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    return saved(photo().convert(mode), "JPEG", **options)


def decode(data: bytes, channels: int = 3) -> np.ndarray:
    pixels, _ = read_upload(data, (channels, 96, 96), 0, max_pixels=MAX_PIXELS)
    return pixels.transpose(1, 2, 0)


def scan_data(data: bytes) -> tuple[int, int]:
    """Where the last scan's entropy-coded data begin and end."""
    header = data.rindex(b"\xff\xda")
    (length,) = struct.unpack_from(">H", data, header + 2)
    return header + 2 + length, data.rindex(EOI)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_whole_jpeg_has_the_pixels_that_pillow_reads(variant: str, mode: str) -> None:
    data = jpeg(mode, **VARIANTS[variant])
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    assert np.array_equal(decode(data), np.asarray(picture))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_jpeg_cut_off_with_an_end_appended_is_refused(
    variant: str, mode: str, share: float
) -> None:
    data = jpeg(mode, **VARIANTS[variant])
    start, end = scan_data(data)
    with pytest.raises(InvalidValue, match="the JPEG is damaged"):
        decode(data[: start + int(share * (end - start))] + EOI)


def test_a_progressive_jpeg_without_its_last_scans_is_refused() -> None:
    data = jpeg(progressive=True)
    with pytest.raises(InvalidValue, match="scans are missing"):
        decode(data[: data.rindex(b"\xff\xda")] + EOI)


@pytest.mark.parametrize(
    "trailer", [b"\0" * 9, b"\xff\xda\0\x08" * 5_000, jpeg(), b"ftypmp4\xff\xda"]
)
def test_what_follows_the_end_does_not_count(trailer: bytes) -> None:
    data = jpeg()
    assert np.array_equal(decode(data + trailer), decode(data))


def test_more_scans_than_any_camera_writes_are_refused() -> None:
    data = jpeg("L")
    start, end = data.index(b"\xff\xda"), len(data) - 2
    with pytest.raises(ImageTooLarge, match=f"more than {MAX_SCANS} scans"):
        decode(data[:start] + data[start:end] * (MAX_SCANS + 1) + EOI, channels=1)


def test_a_thumbnail_within_exif_is_not_the_picture() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0" + jpeg()[:20_000]
    data = jpeg("L")
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    assert np.array_equal(decode(data[:2] + segment + data[2:]), decode(data))


def test_many_segments_are_refused_in_linear_time() -> None:
    exif = b"\xff\xe1" + struct.pack(">H", 60) + b"Exif\0\0" + bytes(52)
    data = jpeg()
    started = time.perf_counter()
    with pytest.raises(ImageTooLarge, match=f"more than {MAX_SEGMENTS} segments"):
        decode(data[:2] + exif * 150_000 + data[2:])
    # Quadratic, it was minutes.
    assert time.perf_counter() - started < 5
    assert np.array_equal(decode(data[:2] + exif * (MAX_SEGMENTS // 2) + data[2:]), decode(data))


@pytest.mark.parametrize(
    ("marker", "name"),
    [(0xC3, "lossless"), (0xC9, "arithmetic-coded"), (0xC5, "hierarchical")],
)
def test_frames_that_no_decoder_checks_are_unsupported(marker: int, name: str) -> None:
    data = bytearray(jpeg())
    data[data.index(b"\xff\xc0") + 1] = marker
    with pytest.raises(UnsupportedImage, match=name):
        decode(bytes(data))


def test_twelve_bits_are_unsupported() -> None:
    data = bytearray(jpeg())
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(UnsupportedImage, match="12 bits"):
        decode(bytes(data))
