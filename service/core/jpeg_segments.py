"""The segments of a JPEG (ITU-T T.81, annex B), parsed and bounded before decoding."""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from service.core.image_size import check_image_size
from service.errors import ImageTooLarge, InvalidValue, UnsupportedImage

JPEG_SIGNATURE = b"\xff\xd8\xff"
MAX_SEGMENTS = 2_000
"""Segments of metadata have up to 64 KiB, and scans a few tables; cameras write up to a hundred."""
MAX_SCANS = 64
"""Each scan of a progressive JPEG is decoded over all pixels; cameras write about ten."""

_SOI, _EOI, _SOS, _APP0, _APP1, _APP14 = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xEE
_DHT, _DQT, _DNL, _DRI, _COM = 0xC4, 0xDB, 0xDC, 0xDD, 0xFE
_TABLES = {_DHT, _DQT, _DRI}
_METADATA = {*range(0xE0, 0xF0), _COM, _DNL}  # decoders ignore DNL, too
_STANDALONE = {0x01, *range(0xD0, 0xD8)}  # TEM and RSTn: markers without a length
_SEQUENTIAL, _PROGRESSIVE = {0xC0, 0xC1}, 0xC2
_UNSUPPORTED_FRAMES = {
    0xC3: "lossless",
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xDE, 0xDF), "hierarchical"),
    # Its decoder reads zeros beyond the end without a warning, so truncation is not detectable.
    **dict.fromkeys((0xC9, 0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF), "arithmetic-coded"),
}

# Exactly one 0xFF before the marker: matching several is quadratic over a run of fill bytes.
_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_RESTART = re.compile(rb"(\xff[\xd0-\xd7])")

_JFIF = b"JFIF\0\1\1\0\0\1\0\1\0\0"  # version 1.1, no density, no thumbnail
_EXIF = b"Exif\0\0"
_COEFFICIENTS = 64  # of a block


@dataclass(frozen=True)
class Segment:
    """A marker with its parameters, and for a scan the entropy-coded data after it."""

    marker: int
    payload: bytes
    entropy_coded: bytes = b""


@dataclass(frozen=True)
class Frame:
    """A frame header (B.2.2)."""

    marker: int
    width: int
    height: int
    component_ids: tuple[int, ...]


@dataclass(frozen=True)
class Jpeg:
    """A JPEG without metadata, and its first Exif block (TIFF), if any."""

    frame: Frame
    segments: Sequence[Segment]
    exif: bytes | None

    def encode(self, interval_padding: bytes = b"") -> bytes:
        """The file; `interval_padding` follows the data of each restart interval."""
        parts = [b"\xff\xd8"]
        for segment in self.segments:
            parts.append(struct.pack(">BBH", 0xFF, segment.marker, len(segment.payload) + 2))
            parts.append(segment.payload)
            if segment.marker == _SOS:
                data = segment.entropy_coded
                if interval_padding:
                    data = _RESTART.sub(lambda mark: interval_padding + mark[1], data)
                parts += [data, interval_padding]
        return b"".join(parts) + b"\xff\xd9"


@dataclass
class _Contents:
    """The contents of the segments read so far."""

    frame: Frame | None = None
    jfif: bool = False
    color_transform: int | None = None  # of Adobe's marker
    exif: bytes | None = None
    segments: list[Segment] = field(default_factory=list)
    scans: list[Segment] = field(default_factory=list)


def read_jpeg(data: bytes, max_pixels: int) -> Jpeg:
    """The verified segments of the image, without metadata and trailing bytes.

    Metadata that determines the colors (JFIF, Adobe) is rewritten. Raises InvalidValue for a
    damaged or truncated file, UnsupportedImage, ImageTooLarge.
    """
    contents = _Contents()
    for segment in _segments(data):
        _add(contents, segment, max_pixels)
    if contents.frame is None or not contents.scans:
        raise _damaged("it has no image data")
    _check_scans_complete(contents.frame, contents.scans)
    return Jpeg(contents.frame, [*_color_segments(contents), *contents.segments], contents.exif)


def _segments(data: bytes) -> Iterator[Segment]:
    position = 2
    for _ in range(MAX_SEGMENTS):
        marker = _find_next(_MARKER, data, position)
        marker_code, position = data[marker + 1], marker + 2
        if marker_code == _EOI:
            return
        if marker_code in _STANDALONE:
            continue
        if len(data) < position + 2:
            raise _damaged("it ends early")
        (length,) = struct.unpack_from(">H", data, position)
        if length < 2:
            raise _damaged("a segment has no length")
        payload, position = data[position + 2 : position + length], position + length
        if len(data) < position:
            raise _damaged("it ends early")
        if marker_code != _SOS:
            yield Segment(marker_code, payload)
            continue
        end = _find_next(_SCAN_END, data, position)
        yield Segment(marker_code, payload, data[position:end])
        position = end
    raise ImageTooLarge(f"The JPEG has more than {MAX_SEGMENTS} segments.")


def _find_next(pattern: re.Pattern[bytes], data: bytes, position: int) -> int:
    match = pattern.search(data, position)
    if match is None:
        raise _damaged("it ends early")
    return match.start()


def _add(contents: _Contents, segment: Segment, max_pixels: int) -> None:
    marker = segment.marker
    if marker in _UNSUPPORTED_FRAMES:
        raise UnsupportedImage(
            f"The JPEG is {_UNSUPPORTED_FRAMES[marker]}; baseline, extended sequential and "
            "progressive JPEGs with Huffman coding are accepted."
        )
    if marker in _SEQUENTIAL or marker == _PROGRESSIVE:
        if contents.frame is not None:
            raise _damaged("it has two frames")
        contents.frame = _read_frame(segment, max_pixels)
        contents.segments.append(segment)
    elif marker == _SOS:
        _add_scan(contents, segment)
    elif marker in _TABLES:
        contents.segments.append(segment)
    elif marker in _METADATA:
        _add_metadata(contents, segment)
    else:
        raise _damaged("it has an invalid marker")


def _read_frame(segment: Segment, max_pixels: int) -> Frame:
    payload = segment.payload
    if len(payload) < 6 or len(payload) != 6 + 3 * payload[5]:
        raise _damaged("its frame header is not one of a JPEG")
    bits, height, width, components = struct.unpack_from(">BHHB", payload)
    if not width or not height:
        raise _damaged("its frame header states no size")
    check_image_size(width, height, max_pixels)
    if bits != 8:
        raise UnsupportedImage(f"The JPEG has {bits} bits per sample; 8 are accepted.")
    if components not in (1, 3, 4):
        raise UnsupportedImage(f"The JPEG has {components} components; 1, 3 or 4 are accepted.")
    return Frame(segment.marker, width, height, tuple(payload[6::3]))


def _add_scan(contents: _Contents, segment: Segment) -> None:
    frame, payload = contents.frame, segment.payload
    if frame is None:
        raise _damaged("a scan stands before the frame header")
    if not payload or len(payload) != 4 + 2 * payload[0]:
        raise _damaged("a scan header is not one of a JPEG")
    if not set(_component_ids(segment)) <= set(frame.component_ids):
        raise _damaged("a scan is of a component that the frame does not have")
    if len(contents.scans) == MAX_SCANS:
        raise ImageTooLarge(f"The JPEG has more than {MAX_SCANS} scans.")
    if frame.marker in _SEQUENTIAL:
        # All coefficients: some cameras write another range, which decoders ignore with a warning.
        payload = payload[:-3] + bytes((0, _COEFFICIENTS - 1, 0))
    scan = Segment(_SOS, payload, segment.entropy_coded)
    contents.scans.append(scan)
    contents.segments.append(scan)


def _add_metadata(contents: _Contents, segment: Segment) -> None:
    payload = segment.payload
    if segment.marker == _APP1 and payload.startswith(_EXIF):
        contents.exif = contents.exif or payload
    elif contents.scans:
        return  # decoders take the colors from what comes before
    elif segment.marker == _APP0 and payload.startswith(b"JFIF\0") and len(payload) >= len(_JFIF):
        contents.jfif = True
    elif segment.marker == _APP14 and payload.startswith(b"Adobe") and len(payload) >= 12:
        contents.color_transform = payload[11]


def _color_segments(contents: _Contents) -> Iterator[Segment]:
    if contents.jfif:
        yield Segment(_APP0, _JFIF)
    transform = contents.color_transform
    if transform is not None:
        # Any but 0, the colors as they are, means YCbCr or YCCK; decoders warn of an unknown one.
        four = contents.frame is not None and len(contents.frame.component_ids) == 4
        transform = (2 if four else 1) if transform else 0
        yield Segment(_APP14, b"Adobe\0\x64\0\0\0\0" + bytes((transform,)))


def _component_ids(scan: Segment) -> bytes:
    return scan.payload[1 : 1 + 2 * scan.payload[0] : 2]


def _check_scans_complete(frame: Frame, scans: Sequence[Segment]) -> None:
    """All bits of all coefficients are present (G.1.1): a decoder reads missing ones as 0."""
    missing_bits: dict[int, list[int | None]] = {
        component: [None] * _COEFFICIENTS for component in frame.component_ids
    }
    for scan in scans:
        start, end, approximation = scan.payload[-3:]
        if start > end or end >= _COEFFICIENTS:
            raise _damaged("a scan header is not one of a JPEG")
        for component in _component_ids(scan):
            missing_bits[component][start : end + 1] = [approximation & 0xF] * (end - start + 1)
    if any(any(bits != 0 for bits in component) for component in missing_bits.values()):
        raise _damaged("scans are missing")


def _damaged(reason: str) -> InvalidValue:
    return InvalidValue("file", f"the JPEG is damaged: {reason}")
