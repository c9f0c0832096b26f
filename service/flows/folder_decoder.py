"""Decoding of the images of folders in a process with limited time and memory."""

from typing import Any

import numpy as np

from service.core.input import InputSpec
from service.core.resizing import PixelArray
from service.errors import ImageRefused, UploadsBusy
from service.jobs.sandbox import LimitExceeded, Limits, Sandbox, SandboxBusy, SandboxCrashed

MAX_IMAGE_BYTES = 64 * 2**20
DEFAULT_MAX_PIXELS = 40_000_000
_BYTES_PER_PIXEL = 4  # of the largest answer, a PNG of an image that cannot be compressed

_MAX_QUEUE_SECONDS = 60.0
_CPU_SECONDS, _PIXELS_PER_CPU_SECOND = 5, 4_000_000
_MEMORY_BYTES, _MEMORY_BYTES_PER_PIXEL = 2**27, 16


class FolderDecoder:
    """A decoder process, which starts with the first call. Concurrent calls wait."""

    def __init__(self, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        cpu_seconds = _CPU_SECONDS + max_pixels // _PIXELS_PER_CPU_SECOND
        memory_bytes = _MEMORY_BYTES + max_pixels * _MEMORY_BYTES_PER_PIXEL + MAX_IMAGE_BYTES * 6
        limits = Limits(
            cpu_seconds,
            wall_seconds=4.0 * cpu_seconds,
            memory_bytes=memory_bytes,
            answer_bytes=max_pixels * _BYTES_PER_PIXEL,
        )
        function = "service.core.folder_images:handle_request"
        self._sandbox = Sandbox(function, limits, _MAX_QUEUE_SECONDS)
        self._max_pixels = max_pixels

    def measure(self, data: bytes) -> dict[str, Any]:
        """Size and statistics, as of `ImageEntry`. Raises ImageRefused and UploadsBusy."""
        return self._call({"operation": "measure"}, data)[0]

    def resize(self, data: bytes, input_spec: InputSpec) -> PixelArray:
        """Pixels uint8 (D, h, w) at the resized size. Raises ImageRefused and UploadsBusy."""
        request = {"operation": "resize", "input": input_spec.model_dump(mode="json")}
        values, pixels = self._call(request, data)
        return np.frombuffer(pixels, np.uint8).reshape(values["shape"])

    def to_png(self, data: bytes, max_side: int | None = None) -> bytes:
        """The upright image as a PNG; scaled down if its longer side has more than `max_side`
        pixels.

        Raises ImageRefused and UploadsBusy.
        """
        return self._call({"operation": "png", "max_side": max_side}, data)[1]

    def close(self) -> None:
        """Stop the process."""
        self._sandbox.close()

    def _call(self, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        request |= {"max_pixels": self._max_pixels}
        try:
            values, answer = self._sandbox.call(request, data)
        except SandboxBusy as error:
            raise UploadsBusy from error
        except LimitExceeded as error:
            raise ImageRefused(f"takes more than {error} to decode") from error
        except SandboxCrashed as error:
            raise ImageRefused("its decoder failed; the image is damaged") from error
        if "refusal" in values:
            raise ImageRefused(values["refusal"])
        return values, answer
