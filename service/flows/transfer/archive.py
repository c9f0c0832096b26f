"""Reader of exported files, which are untrusted: every part is verified before it is used."""

import hashlib
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import ValidationError

from service.core.network_descriptions import MAX_PROGRAM_BYTES
from service.core.parameters import Parameters
from service.errors import ImportRefused
from service.field_errors import field_errors
from service.files import open_regular
from service.flows.tensor_uploads import MAX_TENSOR_BYTES
from service.flows.transfer.layout import Layout
from service.flows.transfer.manifest import FORMAT, MANIFEST, Manifest, Member, to_json

MAX_MANIFEST_BYTES = 64 * 2**20
MAX_ROWS_BYTES = 256 * 2**20  # of one epoch
MAX_IMAGE_BYTES = 2**24
MAX_CHECKPOINT_BYTES = 2**32
MAX_MEMBERS = 1 + 1_000 + 2 * 10_001 + 1 + 1 + 100_000

MAX_BYTES_BY_FOLDER = {
    "images": MAX_IMAGE_BYTES,
    "rows": MAX_ROWS_BYTES,
    "checkpoints": MAX_CHECKPOINT_BYTES,
    "states": MAX_CHECKPOINT_BYTES,
    "networks": MAX_PROGRAM_BYTES,
    "tensors": MAX_TENSOR_BYTES,
}
"""Maximum size of a member, by its folder."""

UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    IndexError,
    KeyError,
)
"""Exceptions that Python's zipfile raises for malformed files."""

Model = TypeVar("Model", bound=Parameters)


class Archive:
    """An open exported file whose manifest and layout have been verified."""

    def __init__(self, file: zipfile.ZipFile, manifest: Manifest) -> None:
        self._file = file
        self.manifest = manifest

    def read_member(self, member: Member) -> bytes:
        """A member's bytes, verified by length and checksum. Raises ImportRefused."""
        data = _read_entry(self._file, member.name, member.bytes)
        if hashlib.sha256(data).hexdigest() != member.sha256:
            raise ImportRefused(f"{member.name} does not match its checksum")
        return data

    def read_model(self, member: Member, model_class: type[Model]) -> Model:
        """A JSON member, parsed and verified. Raises ImportRefused."""
        return parse_model(self.read_member(member), member.name, model_class)


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Context manager: an exported file. Raises ImportRefused and FileRefused."""
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            file = zipfile.ZipFile(stream)
        except UNREADABLE as error:
            raise ImportRefused(f"{path.name} is not an exported file") from error
        with file:
            manifest = _read_manifest(file, size)
            _check_members(file, manifest)
            _check_layout(file, stream)
            yield Archive(file, manifest)


def parse_model(data: bytes, name: str, model_class: type[Model]) -> Model:
    """Parse JSON strictly: no NaN, no unknown fields, no conversions. Raises ImportRefused."""
    try:
        model = model_class.model_validate_json(data)
    except (ValidationError, RecursionError) as error:
        location = ""
        if isinstance(error, ValidationError):
            details = error.errors(include_input=False, include_url=False)
            location = f": {field_errors(details, model_class.model_json_schema())[0]}"
        raise ImportRefused(f"{name} has unexpected content{location}"[:500]) from error
    # The model accepts duplicate keys, spaces and 1.0 for 1; an export never contains them.
    if to_json(json.loads(data)) != data:
        raise ImportRefused(f"{name} has been reformatted since its export")
    return model


def _read_manifest(file: zipfile.ZipFile, size: int) -> Manifest:
    entries = file.infolist()
    if not entries or entries[0].filename != MANIFEST or entries[0].header_offset != 0:
        raise ImportRefused(f"its first part is not {MANIFEST}: it is not an exported file")
    if len(entries) > MAX_MEMBERS:
        raise ImportRefused(f"it has {len(entries):,} parts; the maximum is {MAX_MEMBERS:,}")
    # Uncompressed parts cannot add up to more than the file, which rules out zip bombs.
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 0x1 for entry in entries):
        raise ImportRefused("a part is compressed or encrypted; exported parts are not")
    if sum(entry.file_size for entry in entries) > size:
        raise ImportRefused("its parts claim to be larger than the file")
    if entries[0].file_size > MAX_MANIFEST_BYTES:
        raise ImportRefused(f"{MANIFEST} has more than {MAX_MANIFEST_BYTES:,} bytes")
    data = _read_entry(file, MANIFEST, entries[0].file_size)
    if file.comment != hashlib.sha256(data).hexdigest().encode():
        raise ImportRefused(f"{MANIFEST} does not match its checksum")
    file_format = _format_number(data)
    if file_format is not None and file_format > FORMAT:
        raise ImportRefused(
            f"it has format {file_format}, and this version reads {FORMAT}: install a newer Camreel"
        )
    return parse_model(data, MANIFEST, Manifest)


def _format_number(data: bytes) -> int | None:
    try:
        values: Any = json.loads(data)
    except (ValueError, RecursionError):
        return None
    number = values.get("format") if isinstance(values, dict) else None
    return number if type(number) is int else None


def _check_members(file: zipfile.ZipFile, manifest: Manifest) -> None:
    """Raises ImportRefused unless the members are those of the manifest, within their limits."""
    members = manifest.members()
    expected_names = [MANIFEST, *(member.name for member in members)]
    names = [entry.filename for entry in file.infolist()]
    if names != expected_names or len(set(names)) != len(names):
        raise ImportRefused("its parts are not those of its manifest, once each and in order")
    for member in members:
        max_bytes = MAX_BYTES_BY_FOLDER.get(member.name.partition("/")[0], 0)
        if member.bytes > max_bytes:
            raise ImportRefused(f"{member.name} has more than {max_bytes:,} bytes")


def _check_layout(file: zipfile.ZipFile, stream: IO[bytes]) -> None:
    """Raises ImportRefused unless all bytes between the members are those that an export writes."""
    layout = Layout()
    for member in file.infolist():
        start = layout.offset
        header = layout.header(member.filename, member.CRC, member.file_size)
        if not _has_bytes_at(stream, start, header):
            raise ImportRefused(f"it has been changed before {member.filename}")
    end = layout.end(file.comment)
    # One byte more than expected, to detect trailing data.
    stream.seek(layout.offset)
    if stream.read(len(end) + 1) != end:
        raise ImportRefused("it has been changed after its last part")


def _has_bytes_at(stream: IO[bytes], offset: int, data: bytes) -> bool:
    stream.seek(offset)
    return stream.read(len(data)) == data


def _read_entry(file: zipfile.ZipFile, name: str, size: int) -> bytes:
    try:
        info = file.getinfo(name)
        if info.file_size != size or info.compress_size != size:
            raise ImportRefused(f"{name} is not as long as in the manifest")
        with file.open(info) as member:
            data = member.read(size + 1)
    except UNREADABLE as error:
        raise ImportRefused(f"{name} cannot be read") from error
    if len(data) != size:
        raise ImportRefused(f"{name} is not as long as in the manifest")
    return data
