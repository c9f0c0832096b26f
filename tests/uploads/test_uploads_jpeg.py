"""JPEGs: complete ones of every kind are accepted, incomplete ones refused by their structure."""

import base64
import io
import struct
import time

import numpy as np
import pytest
from PIL import Image

from service.core.jpeg_segments import MAX_SCANS, MAX_SEGMENTS
from service.core.uploads import convert_upload
from service.errors import ImageTooLarge, InvalidValue, UnsupportedImage
from tests.uploads.pictures import encode

EOI = b"\xff\xd9"
MAX_PIXELS = 10**6


def photo(side: int = 96) -> Image.Image:
    """A color image with noise, so that its scans have many bytes."""
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
    return encode(photo().convert(mode), "JPEG", **options)


def decode(data: bytes, channels: int = 3) -> np.ndarray:
    pixels, _ = convert_upload(data, (channels, 96, 96), 0, max_pixels=MAX_PIXELS)
    return pixels.transpose(1, 2, 0)


def scan_data(data: bytes) -> tuple[int, int]:
    """Start and end offset of the entropy-coded data of the last scan."""
    header = data.rindex(b"\xff\xda")
    (length,) = struct.unpack_from(">H", data, header + 2)
    return header + 2 + length, data.rindex(EOI)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_complete_jpeg_has_the_pixels_that_pillow_decodes(variant: str, mode: str) -> None:
    data = jpeg(mode, **VARIANTS[variant])
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    assert np.array_equal(decode(data), np.asarray(picture))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_jpeg_with_an_appended_end_is_refused(
    variant: str, mode: str, share: float
) -> None:
    data = jpeg(mode, **VARIANTS[variant])
    start, end = scan_data(data)
    with pytest.raises(InvalidValue, match="the JPEG is damaged"):
        decode(data[: start + int(share * (end - start))] + EOI)


SAMPLED_3_TO_1 = base64.b85decode(
    "|JeWF01!$>Nk#wx0RR9200961|JwjV02B@n5)Ta&5)cv>6%-gAG9exu93DL^E+jHZKuk+VKt@GST61DhRc%&9Mr4R"
    "(ZFhTtf`Lw8jhBplmUDiAeE-`3Lje^R7akfOJ0T%Ed{ahKe0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R"
    "-e0+R-e0+R-e0+R-e0=}F01*fP5C9kh0Wkmq5di}c0sq7R761VO0RR910000000000000C71^>hV7Z3mg0RR910000"
    "000000000021Y!Tg02KiN0RR910000000000000051pmYU7ZCsh0RR910000000000000031Tp{G01N{G00I#M5dc2"
    "`#z}BOOM((y6sg4#HwC1)T_wQ@E(BEI*qev{*#"
)
"""24 x 16, with 3 luma samples per chroma sample in a row, which simplejpeg does not support."""


def test_jpeg_with_unusual_sampling_is_accepted_if_complete() -> None:
    picture = np.asarray(Image.open(io.BytesIO(SAMPLED_3_TO_1)))
    pixels, _ = convert_upload(SAMPLED_3_TO_1, (3, 16, 24), 0, max_pixels=MAX_PIXELS)
    assert np.array_equal(pixels.transpose(1, 2, 0), picture)
    start, end = scan_data(SAMPLED_3_TO_1)
    for size in range(1, end - start - 1):
        with pytest.raises(InvalidValue, match="incomplete"):
            decode(SAMPLED_3_TO_1[: start + size] + EOI)


def test_jpeg_with_missing_components_is_refused() -> None:
    data = jpeg(subsampling=0)
    header = data.index(b"\xff\xda")
    luma_alone = b"\xff\xda\0\x08\x01" + data[header + 5 : header + 7] + b"\0\x3f\0"
    scan = data[header + 14 :]
    with pytest.raises(InvalidValue, match="scans are missing"):
        decode(data[:header] + luma_alone + scan)


@pytest.mark.parametrize("padding", [b"\xff" * 7, b"\0" * 3, b"\x12\x34"])
def test_padding_before_the_end_of_a_scan_is_accepted(padding: bytes) -> None:
    data = jpeg()
    assert np.array_equal(decode(data[:-2] + padding + EOI), decode(data))


def test_first_of_several_exif_segments_determines_the_orientation() -> None:
    segments = []
    for orientation in (6, 3, 8):
        exif = Image.Exif()
        exif[0x0112] = orientation
        payload = exif.tobytes()
        segments.append(b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload)
    data = jpeg("L")
    oriented = decode(data[:2] + b"".join(segments) + data[2:])
    assert np.array_equal(oriented, np.rot90(decode(data), -1))


def test_progressive_jpeg_without_its_last_scans_is_refused() -> None:
    data = jpeg(progressive=True)
    with pytest.raises(InvalidValue, match="scans are missing"):
        decode(data[: data.rindex(b"\xff\xda")] + EOI)


@pytest.mark.parametrize(
    "trailer", [b"\0" * 9, b"\xff\xda\0\x08" * 5_000, jpeg(), b"ftypmp4\xff\xda"]
)
def test_bytes_after_the_end_are_ignored(trailer: bytes) -> None:
    data = jpeg()
    assert np.array_equal(decode(data + trailer), decode(data))


def test_too_many_scans_are_refused() -> None:
    data = jpeg("L")
    start, end = data.index(b"\xff\xda"), len(data) - 2
    with pytest.raises(ImageTooLarge, match=f"more than {MAX_SCANS} scans"):
        decode(data[:start] + data[start:end] * (MAX_SCANS + 1) + EOI, channels=1)


def test_exif_thumbnail_is_ignored() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0" + jpeg()[:20_000]
    data = jpeg("L")
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    assert np.array_equal(decode(data[:2] + segment + data[2:]), decode(data))


def test_many_segments_are_refused_in_linear_time() -> None:
    exif = b"\xff\xe1" + struct.pack(">H", 60) + b"Exif\0\0" + bytes(52)
    data = jpeg()
    start_time = time.perf_counter()
    with pytest.raises(ImageTooLarge, match=f"more than {MAX_SEGMENTS} segments"):
        decode(data[:2] + exif * 150_000 + data[2:])
    # In quadratic time this would take minutes.
    assert time.perf_counter() - start_time < 5
    assert np.array_equal(decode(data[:2] + exif * (MAX_SEGMENTS // 2) + data[2:]), decode(data))


@pytest.mark.parametrize(
    ("marker", "name"),
    [(0xC3, "lossless"), (0xC9, "arithmetic-coded"), (0xC5, "hierarchical")],
)
def test_unsupported_frame_types_are_refused(marker: int, name: str) -> None:
    data = bytearray(jpeg())
    data[data.index(b"\xff\xc0") + 1] = marker
    with pytest.raises(UnsupportedImage, match=name):
        decode(bytes(data))


def test_12_bit_jpeg_is_unsupported() -> None:
    data = bytearray(jpeg())
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(UnsupportedImage, match="12 bits"):
        decode(bytes(data))
