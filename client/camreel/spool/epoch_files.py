"""Files of an epoch's weights: safetensors, written from live tensors and read tensor by tensor.

Needs no torch, so that weights can be sent by a process without it.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from camreel.errors import InvalidSpool

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100 * 2**20
CHUNK_BYTES = 2**20
METADATA = "__metadata__"
ELEMENT_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}


@dataclass(frozen=True)
class TensorForm:
    """Type, as safetensors names it, and shape of a tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all elements."""
        return math.prod(self.shape) * ELEMENT_BYTES[self.dtype]

    def header(self, start: int = 0) -> dict[str, Any]:
        """The entry in the header of a file whose elements begin at `start`."""
        return {
            "dtype": self.dtype,
            "shape": list(self.shape),
            "data_offsets": [start, start + self.size_bytes],
        }


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in the file of an epoch, as the file of its own in which it is sent."""

    path: Path
    name: str
    form: TensorForm
    offset: int
    """Where its elements begin in the epoch's file."""

    @property
    def head(self) -> bytes:
        """The beginning of the tensor's own file, before its elements."""
        return _encode_header({"tensor": self.form.header()})

    @property
    def size_bytes(self) -> int:
        """Length of the tensor's own file."""
        return len(self.head) + self.form.size_bytes

    def read(self, start: int, length: int) -> bytes:
        """A part of the tensor's own file."""
        head = self.head
        end = min(start + length, self.size_bytes)
        first_part = head[start:end]
        if end <= len(head):
            return first_part
        with self.path.open("rb") as file:
            file.seek(self.offset + max(0, start - len(head)))
            return first_part + file.read(end - max(start, len(head)))

    def sha256(self) -> str:
        """SHA-256 of the tensor's own file, hexadecimal."""
        digest = hashlib.sha256(self.head)
        with self.path.open("rb") as file:
            file.seek(self.offset)
            remaining_bytes = self.form.size_bytes
            while remaining_bytes:
                chunk = file.read(min(CHUNK_BYTES, remaining_bytes))
                if not chunk:
                    raise InvalidSpool(f"{self.path} is truncated")
                digest.update(chunk)
                remaining_bytes -= len(chunk)
        return digest.hexdigest()


@dataclass(frozen=True)
class EpochFile:
    """What the header of an epoch's file states."""

    metadata: Mapping[str, str]
    tensors: tuple[StoredTensor, ...]


def write_tensors(
    file: BinaryIO,
    forms: Mapping[str, TensorForm],
    elements: Callable[[str], Any],
    metadata: Mapping[str, str],
) -> None:
    """Write a safetensors file. `elements` returns the elements of a tensor as a buffer.

    They are taken one tensor after the other, so that a copy from a GPU needs the memory of one.
    """
    entries: dict[str, Any] = {METADATA: dict(metadata)}
    start = 0
    for name, form in forms.items():
        entries[name] = form.header(start)
        start += form.size_bytes
    file.write(_encode_header(entries))
    for name in forms:
        file.write(elements(name))


def read_header(path: Path) -> EpochFile:
    """Read the header of a file. Raises InvalidSpool for a damaged or truncated one."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(LENGTH_BYTES), "little")
            if not 0 < size <= MAX_HEADER_BYTES:
                raise InvalidSpool(f"{path} is no safetensors file")
            entries = json.loads(file.read(size))
        start = LENGTH_BYTES + size
        metadata = entries.pop(METADATA, {})
        tensors = tuple(_tensors(path, entries.items(), start))
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidSpool(f"{path} cannot be read: {error}") from error
    if path.stat().st_size != start + sum(tensor.form.size_bytes for tensor in tensors):
        raise InvalidSpool(f"{path} is truncated")
    return EpochFile(metadata, tensors)


def manifest_digest(hashes: Mapping[str, str]) -> str:
    """SHA-256 that identifies all tensors of an epoch, from the SHA-256 of each by name."""
    return hashlib.sha256(json.dumps(dict(sorted(hashes.items()))).encode()).hexdigest()


def _tensors(path: Path, entries: Iterable[tuple[str, Any]], start: int) -> Iterator[StoredTensor]:
    for name, entry in entries:
        form = TensorForm(entry["dtype"], tuple(map(int, entry["shape"])))
        first, last = entry["data_offsets"]
        if last - first != form.size_bytes:
            raise ValueError(f"the length of {name} is wrong")
        yield StoredTensor(path, name, form, start + first)


def _encode_header(entries: Mapping[str, Any]) -> bytes:
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text
