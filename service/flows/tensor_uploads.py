"""Uploads of tensor files, part by part: what is stored survives a broken connection."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from service.core import tensor_files
from service.errors import InvalidValue, TensorNotFound, UploadConflict
from service.store import tensors
from service.store.store import Store
from service.store.tensors import PART_BYTES, StoredTensor, TensorUpload

MAX_TENSOR_BYTES = 2**31
MIN_PART_BYTES = 64 * 2**10
"""A shorter part is stored only at the end of a file, so that no file has too many."""


def find_tensor(store: Store, sha256: str) -> StoredTensor:
    """The complete tensor. Raises TensorNotFound, with the bytes that are stored of it."""
    with store.read_session() as session:
        tensor = tensors.get(session, sha256)
        upload = None if tensor else tensors.get_upload(session, sha256)
    if tensor is None:
        raise TensorNotFound(sha256, upload.received_bytes if upload else 0)
    return tensor


def read_tensor(store: Store, tensor: StoredTensor) -> Iterator[bytes]:
    """The bytes of a tensor's file, part by part, each from a transaction of its own."""
    for key in tensors.part_keys(tensor.folder, tensor.parts):
        with store.read_session() as session:
            try:
                data = store.blobs.get(session, key)
            except KeyError as error:
                raise TensorNotFound(tensor.sha256, 0) from error
        yield data


@dataclass
class TensorReceiver:
    """Receives the bytes `start` to `total_bytes` of a tensor's file, or a part of them.

    Bytes that are stored already are skipped. Not thread-safe: one request has one receiver, and
    calls it from one thread at a time.
    """

    store: Store
    sha256: str
    start: int
    total_bytes: int

    def __post_init__(self) -> None:
        self._buffer = bytearray()
        self._position = self.start
        self._upload: TensorUpload | None = None

    @property
    def received_bytes(self) -> int:
        """How many bytes of the file are stored."""
        return self._upload.received_bytes if self._upload else 0

    def begin(self) -> StoredTensor | None:
        """The complete tensor, if it is stored; otherwise begin or continue its upload.

        Raises UploadConflict if `start` is beyond the bytes that are stored, and StoreFull.
        """
        with self.store.write_session() as session:
            tensor = tensors.lock_many(session, [self.sha256]).get(self.sha256)
            if tensor is not None:
                return tensor
            self.store.quota.check(session, self.total_bytes)
            upload = tensors.get_upload(session, self.sha256)
            if upload is not None and upload.bytes != self.total_bytes:
                tensors.delete_upload(session, self.store.blobs, upload)
                session.flush()
            tensors.start_upload(session, self.sha256, self.total_bytes)
            self._upload = tensors.get_upload(session, self.sha256)
        if self.start > self.received_bytes:
            raise UploadConflict(self.received_bytes)
        return None

    def add(self, data: bytes) -> bool:
        """Take the next bytes of the body; whether `store_parts` has something to store."""
        skipped = max(0, self.received_bytes + len(self._buffer) - self._position)
        self._position += len(data)
        self._buffer += data[skipped:]
        return len(self._buffer) >= PART_BYTES or self._is_complete

    def store_parts(self, *, is_last: bool = False) -> None:
        """Store the full parts of what has been taken; with `is_last`, also a shorter one.

        Raises StoreFull, and UploadConflict if another request uploads the same tensor.
        """
        while len(self._buffer) >= PART_BYTES:
            self._store_part(PART_BYTES)
        if self._buffer and (self._is_complete or (is_last and self._is_worth_storing)):
            self._store_part(len(self._buffer))

    def finish(self) -> StoredTensor | None:
        """The verified tensor; None while bytes are missing.

        Raises InvalidValue if the bytes are not those of a tensor's file with this SHA-256; they
        are then deleted.
        """
        upload = self._upload
        if upload is None or upload.received_bytes < upload.bytes:
            return None
        try:
            tensor = self._verify(upload)
        except InvalidValue:
            with self.store.write_session() as session:
                tensors.delete_upload(session, self.store.blobs, upload)
            raise
        with self.store.write_session() as session:
            is_new = tensors.finish_upload(session, tensor)
        return tensor if is_new else find_tensor(self.store, self.sha256)

    @property
    def _is_complete(self) -> bool:
        return self.received_bytes + len(self._buffer) == self.total_bytes

    @property
    def _is_worth_storing(self) -> bool:
        return len(self._buffer) >= MIN_PART_BYTES

    def _store_part(self, size: int) -> None:
        upload = self._upload
        assert upload is not None, "begun before"  # noqa: S101  for mypy
        data = bytes(self._buffer[:size])
        with self.store.write_session() as session:
            is_stored = tensors.append_part(session, self.store.blobs, upload, data)
            current = tensors.get_upload(session, self.sha256)
        if not is_stored:
            raise UploadConflict(current.received_bytes if current else 0)
        del self._buffer[:size]
        self._upload = current

    def _verify(self, upload: TensorUpload) -> StoredTensor:
        digest = hashlib.sha256()

        def read_parts() -> Iterator[bytes]:
            for key in tensors.part_keys(upload.folder, upload.parts):
                with self.store.read_session() as session:
                    part = self.store.blobs.get(session, key)
                digest.update(part)
                yield part

        summary = tensor_files.summarize(read_parts(), upload.bytes)
        if digest.hexdigest() != self.sha256:
            raise InvalidValue("sha256", "is not that of the body")
        return StoredTensor(
            sha256=self.sha256,
            dtype=summary.header.dtype,
            shape=list(summary.header.shape),
            bytes=upload.bytes,
            folder=upload.folder,
            parts=upload.parts,
            not_finite=summary.not_finite,
        )
