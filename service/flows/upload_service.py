"""Uploaded images: decoded, stored once, and used wherever an image of a dataset is taken."""

import hashlib
import secrets
from dataclasses import asdict, dataclass
from datetime import timedelta

from service.core.datasets import DATASETS
from service.core.uploads import UploadConversion, parse_response
from service.errors import ImageTooLarge, InvalidValue, UnknownName, UploadsBusy
from service.jobs.sandbox import LimitExceeded, Limits, Sandbox, SandboxBusy, SandboxCrashed
from service.store import request_keys, uploaded_images
from service.store.images import StoredImage
from service.store.request_keys import RequestKey
from service.store.store import Store
from service.store.uploaded_images import Upload

ID_BYTES = 16
"""128 random bits: who was not told an upload's id does not find it."""

MAX_QUEUE_SECONDS = 30.0
"""How long an upload waits for those before it."""
_CPU_SECONDS, _PIXELS_PER_CPU_SECOND = 5, 4_000_000
_MEMORY_BYTES, _MEMORY_BYTES_PER_PIXEL = 2**27, 16


def upload_decoder(max_pixels: int, max_bytes: int) -> Sandbox:
    """The process that decodes uploads, bounded by what the largest ones take, with a reserve."""
    cpu_seconds = _CPU_SECONDS + max_pixels // _PIXELS_PER_CPU_SECOND
    memory_bytes = _MEMORY_BYTES + max_pixels * _MEMORY_BYTES_PER_PIXEL + max_bytes * 6
    # Four times: other work shares the processors, and is not the picture's fault.
    limits = Limits(cpu_seconds, wall_seconds=4.0 * cpu_seconds, memory_bytes=memory_bytes)
    return Sandbox("service.core.uploads:handle_request", limits, MAX_QUEUE_SECONDS)


@dataclass(frozen=True)
class UploadService:
    """Takes in images up to `max_pixels`; unused ones may be removed after `retention`."""

    store: Store
    decoder: Sandbox
    max_pixels: int
    retention: timedelta

    def add(
        self,
        dataset: str,
        data: bytes,
        *,
        invert: bool = False,
        request_key: RequestKey | None = None,
    ) -> tuple[Upload, bool]:
        """Store the picture as the dataset's are; an earlier upload of it is returned as it is.

        True beside it where `asked` was answered before. Raises UnknownName, UnsupportedImage,
        ImageTooLarge, InvalidValue, UploadsBusy, KeyReused, StoreFull.
        """
        if dataset not in DATASETS:
            raise UnknownName("dataset", dataset, DATASETS)
        png, choices = self._decode(data, dataset, invert)
        reference = f"upload:{secrets.token_urlsafe(ID_BYTES)}"
        upload = Upload(StoredImage(dataset, reference, None, png), asdict(choices))
        # Of the file, not of its pixels: two files of the same pixels differ in their choices.
        digest = hashlib.sha256(b"inverted" * invert + b"\0" + data).hexdigest()
        with self.store.write_session() as session:
            earlier_reference = (
                request_keys.claim_key(session, request_key) if request_key else None
            )
            uploaded_images.delete_unused(session, self.retention)
            if earlier_reference is None:
                self.store.quota.check(session, len(data))
            stored_upload = uploaded_images.get_or_create(session, digest, upload)
            if request_key and earlier_reference is None:
                request_keys.record_answer(session, request_key, stored_upload.image.reference)
        return stored_upload, earlier_reference is not None

    def close(self) -> None:
        """End the decoder's process."""
        self.decoder.close()

    def _decode(self, data: bytes, dataset: str, invert: bool) -> tuple[bytes, UploadConversion]:
        source = DATASETS[dataset]
        request = {
            "image_shape": source.image_shape,
            "background": source.background,
            "max_pixels": self.max_pixels,
            "invert": invert,
        }
        try:
            answer, pixels = self.decoder.call(request, data)
        except SandboxBusy as error:
            raise UploadsBusy from error
        except LimitExceeded as error:
            raise ImageTooLarge(f"The image takes more than {error} to decode.") from error
        except SandboxCrashed as error:
            raise InvalidValue("file", "its decoder failed; the image is damaged") from error
        return parse_response(answer, pixels, source.image_shape)
