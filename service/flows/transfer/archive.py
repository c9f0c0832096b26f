"""Reading an exported file: nothing in it is believed before its checksum was taken."""

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

from service.core.parameters import Parameters
from service.errors import ImportRefused
from service.files import open_regular
from service.flows.transfer.layout import Layout
from service.flows.transfer.manifest import FORMAT, MANIFEST, Manifest, Member, to_json

MAX_MANIFEST_BYTES = 64 * 2**20
MAX_ROWS_BYTES = 256 * 2**20  # of one epoch
MAX_IMAGE_BYTES = 2**24
MAX_CHECKPOINT_BYTES = 2**32
MAX_MEMBERS = 1 + 1_000 + 2 * 10_001 + 1

MAX_BYTES_BY_FOLDER = {
    "images": MAX_IMAGE_BYTES,
    "rows": MAX_ROWS_BYTES,
    "checkpoints": MAX_CHECKPOINT_BYTES,
    "states": MAX_CHECKPOINT_BYTES,
}
"""The most that a member of a folder holds."""

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
"""What Python's zipfile raises over a file that is none of its own."""

Model = TypeVar("Model", bound=Parameters)


class Archive:
    """An open file, its manifest read and its members counted."""

    def __init__(self, file: zipfile.ZipFile, manifest: Manifest) -> None:
        self._file = file
        self.manifest = manifest

    def read_member(self, member: Member) -> bytes:
        """A member's bytes, verified. Raises ImportRefused."""
        data = _read_entry(self._file, member.name, member.bytes)
        if hashlib.sha256(data).hexdigest() != member.sha256:
            raise ImportRefused(f"{member.name} is not as it was exported: its checksum is another")
        return data

    def read_model(self, member: Member, model_class: type[Model]) -> Model:
        """A JSON member. Raises ImportRefused."""
        return parse_model(self.read_member(member), member.name, model_class)


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """An exported file, for the time of a block. Raises ImportRefused and FileRefused."""
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            file = zipfile.ZipFile(stream)
        except UNREADABLE as error:
            raise ImportRefused(f"{path.name} is no file that was exported") from error
        with file:
            manifest = _read_manifest(file, size)
            _check_members(file, manifest)
            _check_layout(file, stream)
            yield Archive(file, manifest)


def parse_model(data: bytes, name: str, model_class: type[Model]) -> Model:
    """JSON as its model, strictly: no NaN, no unknown field, no text for a number."""
    try:
        model = model_class.model_validate_json(data)
    except (ValidationError, RecursionError) as error:
        location = ""
        if isinstance(error, ValidationError):
            first_error = error.errors(include_input=False, include_url=False)[0]
            location = f": {'.'.join(map(str, first_error['loc']))}: {first_error['msg']}"
        raise ImportRefused(f"{name} is not what such a file holds{location}"[:500]) from error
    # A name twice, a space or 1.0 for 1 pass the model, and no export has them.
    if to_json(json.loads(data)) != data:
        raise ImportRefused(f"{name} is not as it was exported: it is written in another way")
    return model


def _read_manifest(file: zipfile.ZipFile, size: int) -> Manifest:
    entries = file.infolist()
    if not entries or entries[0].filename != MANIFEST or entries[0].header_offset != 0:
        raise ImportRefused(f"its first part is no {MANIFEST}: the file was not exported")
    if len(entries) > MAX_MEMBERS:
        raise ImportRefused(f"it has {len(entries):,} parts, and at most {MAX_MEMBERS:,} can be")
    # Stored as they are, all parts together are at most as large as the file: no bomb is.
    if any(one.compress_type != zipfile.ZIP_STORED or one.flag_bits & 0x1 for one in entries):
        raise ImportRefused("a part is compressed or encrypted; exported ones are stored")
    if sum(one.file_size for one in entries) > size:
        raise ImportRefused("its parts claim to be larger than the file is")
    if entries[0].file_size > MAX_MANIFEST_BYTES:
        raise ImportRefused(f"{MANIFEST} has more than {MAX_MANIFEST_BYTES:,} bytes")
    data = _read_entry(file, MANIFEST, entries[0].file_size)
    if file.comment != hashlib.sha256(data).hexdigest().encode():
        raise ImportRefused(f"{MANIFEST} is not as it was exported: its checksum is another")
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
    """Exactly the manifest's, in its order, each once, none larger than its kind may be."""
    members = manifest.members()
    expected_names = [MANIFEST, *(member.name for member in members)]
    names = [one.filename for one in file.infolist()]
    if names != expected_names or len(set(names)) != len(names):
        raise ImportRefused("its parts are not those that its manifest names, each once, in order")
    for member in members:
        max_bytes = MAX_BYTES_BY_FOLDER.get(member.name.partition("/")[0], 0)
        if member.bytes > max_bytes:
            raise ImportRefused(f"{member.name} has more than {max_bytes:,} bytes")


def _check_layout(file: zipfile.ZipFile, stream: IO[bytes]) -> None:
    """Around the members' bytes it is byte for byte what an export writes."""
    layout = Layout()
    for member in file.infolist():
        start = layout.offset
        header = layout.header(member.filename, member.CRC, member.file_size)
        if not _has_bytes_at(stream, start, header):
            raise ImportRefused(f"it was changed before {member.filename}")
    end = layout.end(file.comment)
    # A byte more than it is long: nothing follows.
    stream.seek(layout.offset)
    if stream.read(len(end) + 1) != end:
        raise ImportRefused("it was changed behind its last part")


def _has_bytes_at(stream: IO[bytes], offset: int, data: bytes) -> bool:
    stream.seek(offset)
    return stream.read(len(data)) == data


def _read_entry(file: zipfile.ZipFile, name: str, size: int) -> bytes:
    try:
        info = file.getinfo(name)
        if info.file_size != size or info.compress_size != size:
            raise ImportRefused(f"{name} is not as long as it was")
        with file.open(info) as member:
            data = member.read(size + 1)
    except UNREADABLE as error:
        raise ImportRefused(f"{name} cannot be read") from error
    if len(data) != size:
        raise ImportRefused(f"{name} is not as long as it was")
    return data
