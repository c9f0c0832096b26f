"""Uploads: images that clients provide, decoded and stored once, usable like dataset images."""

import hashlib
import secrets
from dataclasses import asdict, dataclass
from datetime import timedelta

from service.core.datasets import DATASETS
from service.core.spec import RunSpec
from service.core.uploads import UploadConversion, parse_response
from service.errors import ImageTooLarge, InvalidValue, UnknownName, UploadsBusy
from service.jobs.sandbox import LimitExceeded, Limits, Sandbox, SandboxBusy, SandboxCrashed
from service.store import request_keys, runs, uploaded_images
from service.store.images import StoredImage
from service.store.request_keys import RequestKey
from service.store.store import Store
from service.store.uploaded_images import Upload

ID_BYTES = 16
"""128 random bits: an upload's id cannot be guessed."""

MAX_QUEUE_SECONDS = 30.0
"""How long an upload waits for the uploads before it."""
_CPU_SECONDS, _PIXELS_PER_CPU_SECOND = 5, 4_000_000
_MEMORY_BYTES, _MEMORY_BYTES_PER_PIXEL = 2**27, 16


def upload_decoder(max_pixels: int, max_bytes: int) -> Sandbox:
    """The decoder process, with resource limits that the largest uploads stay well below."""
    cpu_seconds = _CPU_SECONDS + max_pixels // _PIXELS_PER_CPU_SECOND
    memory_bytes = _MEMORY_BYTES + max_pixels * _MEMORY_BYTES_PER_PIXEL + max_bytes * 6
    # Four times the CPU time, because other processes share the processors.
    limits = Limits(cpu_seconds, wall_seconds=4.0 * cpu_seconds, memory_bytes=memory_bytes)
    return Sandbox("service.core.uploads:handle_request", limits, MAX_QUEUE_SECONDS)


@dataclass(frozen=True)
class UploadService:
    """Accepts images of up to `max_pixels`; removes unused ones older than `retention`."""

    store: Store
    decoder: Sandbox
    max_pixels: int
    retention: timedelta

    def add(
        self,
        spec: RunSpec,
        data: bytes,
        *,
        invert: bool = False,
        request_key: RequestKey | None = None,
    ) -> tuple[Upload, bool]:
        """Convert an image to the format of a run's images and store it.

        Returns the upload, or the earlier upload of the same file, and whether the request key has
        been used before. Raises UnsupportedImage, ImageTooLarge, InvalidValue, UploadsBusy,
        KeyReused, StoreFull.
        """
        png, conversion = self._decode(data, spec, invert)
        reference = f"upload:{secrets.token_urlsafe(ID_BYTES)}"
        upload = Upload(StoredImage(spec.image_set, reference, None, png), asdict(conversion))
        # Of the file, not of its pixels: files with equal pixels may be converted differently.
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
        """Stop the decoder process."""
        self.decoder.close()

    def find_spec(self, dataset: str, run_id: int | None) -> RunSpec:
        """The run's spec, or one of the built-in dataset. Raises RunNotFound and UnknownName."""
        if run_id is not None:
            with self.store.read_session() as session:
                return RunSpec.model_validate(runs.get(session, run_id).spec)
        if dataset not in DATASETS:
            raise UnknownName("dataset", dataset, DATASETS)
        return RunSpec(dataset=dataset)

    def _decode(self, data: bytes, spec: RunSpec, invert: bool) -> tuple[bytes, UploadConversion]:
        source = spec.source
        # The images of a built-in dataset are padded to a square, and so are uploads for them.
        has_own_pixels = spec.image_set == spec.dataset
        request = {
            "image_shape": source.image_shape,
            "background": source.background,
            "max_pixels": self.max_pixels,
            "invert": invert,
            "input_spec": None if has_own_pixels else spec.input.model_dump(mode="json"),
        }
        try:
            response, pixels = self.decoder.call(request, data)
        except SandboxBusy as error:
            raise UploadsBusy from error
        except LimitExceeded as error:
            raise ImageTooLarge(f"The image takes more than {error} to decode.") from error
        except SandboxCrashed as error:
            raise InvalidValue("file", "its decoder failed; the image is damaged") from error
        return parse_response(response, pixels, source.image_shape)
