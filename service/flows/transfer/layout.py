"""Byte layout of exported files: a zip of stored (uncompressed) members, and nothing else.

The writer produces exactly these bytes, and the reader accepts no others. They equal the output of
Python's `zipfile`, which wrote the exports of earlier versions.
"""

import struct

ZIP64_LIMIT = 2**31 - 1
VERSION, ZIP64_VERSION = 20, 45
UNIX = 3
DOS_DATE = 1 << 5 | 1  # 1980-01-01: the same run gives the same bytes
OWNER_ALONE = 0o600 << 16
ABSENT = 2**32 - 1  # placeholder for a 64-bit number in an extra field


class Layout:
    """Headers of the members, in order, and the central directory after the last member."""

    def __init__(self) -> None:
        self._directory = bytearray()
        self._count = 0
        self._offset = 0

    def header(self, name: str, crc: int, size: int) -> bytes:
        """The header that precedes the bytes of the next member."""
        encoded = name.encode("ascii")
        # The same rule as zipfile, which reserves space for growth under compression.
        wide = size * 1.05 > ZIP64_LIMIT
        extra = _extra(size, size) if wide else b""
        sizes = (ABSENT, ABSENT) if wide else (size, size)
        version = ZIP64_VERSION if wide else VERSION
        common = (0, 0, 0, DOS_DATE, crc)  # flags, method (stored), time, date
        header = (
            struct.pack("<4s5H3L2H", b"PK\3\4", version, *common, *sizes, len(encoded), len(extra))
            + encoded
            + extra
        )
        self._add_to_directory(encoded, common, size, version)
        self._offset += len(header) + size
        return header

    @property
    def offset(self) -> int:
        """Offset of the next header, in bytes from the start of the file."""
        return self._offset

    def end(self, comment: bytes) -> bytes:
        """The bytes after the last member: the central directory and the file's comment."""
        start, size = self._offset, len(self._directory)
        record = bytes(self._directory)
        if start > ZIP64_LIMIT:
            record += struct.pack(
                "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, self._count, self._count, size, start
            ) + struct.pack("<4sLQL", b"PK\6\7", 0, start + size, 1)
        counts = (self._count, self._count)
        return (
            record
            + struct.pack(
                "<4s4H2LH", b"PK\5\6", 0, 0, *counts, size, min(start, ABSENT), len(comment)
            )
            + comment
        )

    def _add_to_directory(
        self, name: bytes, common: tuple[int, ...], size: int, version: int
    ) -> None:
        numbers, sizes, offset = [], (size, size), self._offset
        if size > ZIP64_LIMIT:
            numbers += [size, size]
            sizes = (ABSENT, ABSENT)
        if offset > ZIP64_LIMIT:
            numbers.append(offset)
            offset = ABSENT
        extra = _extra(*numbers) if numbers else b""
        version = ZIP64_VERSION if numbers else version
        made_by = UNIX << 8 | version
        lengths = (len(name), len(extra), 0, 0, 0)
        self._directory += (
            struct.pack(
                "<4s6H3L5H2L",
                b"PK\1\2",
                made_by,
                version,
                *common,
                *sizes,
                *lengths,
                OWNER_ALONE,
                offset,
            )
            + name
            + extra
        )
        self._count += 1


def _extra(*numbers: int) -> bytes:
    """64-bit numbers as a zip extra field of type 1 (ZIP64)."""
    return struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers)
