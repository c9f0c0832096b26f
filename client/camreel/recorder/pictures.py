"""Probes as pictures: PNG files of 8 bits, and the normalization that makes tensors of them."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHANNELS = {1: "gray", 3: "rgb"}
COLOR_TYPES = {1: 0, 3: 2}
MAX_PROBES = 1000
MAX_SIDE_PIXELS = 1024


@dataclass(frozen=True)
class Normalization:
    """How levels 0..1 become the network's input, by channel: (level - mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def levels(self, images: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Levels 0..255 of the network's input (N, D, H, W), rounded."""
        shape = (1, -1, 1, 1)
        mean, std = (np.asarray(v, np.float32).reshape(shape) for v in (self.mean, self.std))
        levels: NDArray[np.float32] = np.rint((images * std + mean) * 255)
        return levels.clip(0, 255).astype(np.uint8)

    def input_spec(self, height: int, width: int) -> dict[str, Any]:
        """As the service describes it."""
        return {
            "channels": CHANNELS[len(self.mean)],
            "resize": {"mode": "exact", "size": [height, width]},
            "mean": list(self.mean),
            "std": list(self.std),
        }


def find_normalization(
    images: NDArray[np.float32],
    mean: Sequence[float] | float | None,
    std: Sequence[float] | float | None,
    transform: object | None,
) -> Normalization:
    """The normalization that was given, or that of a transform, or one that fits the images.

    The last maps levels 0..1 to the range of the images: exactly for images in 0..1, otherwise
    to within a half step of 255. Raises ValueError.
    """
    depth = images.shape[1]
    if (mean is None) != (std is None):
        raise ValueError("mean and std: give both, or neither")
    if mean is None and transform is not None:
        mean, std = read_transform(transform)
    if mean is not None and std is not None:
        return Normalization(_by_channel("mean", mean, depth), _by_channel("std", std, depth))
    low, high = min(0.0, float(images.min())), float(images.max())
    high = max(high, low + 1, 0.0)
    if not high - low <= 1000:
        raise ValueError("probes: values must be finite; give mean and std of the network's input")
    return Normalization((abs(low) / (high - low),) * depth, (1 / (high - low),) * depth)


def read_transform(transform: object) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and std of the normalization in a transform of torchvision or timm.

    Looks for an object with `mean` and `std`, itself or in `transforms`. Raises ValueError.
    """
    mean, std = getattr(transform, "mean", None), getattr(transform, "std", None)
    if mean is not None and std is not None:
        return _numbers(mean), _numbers(std)
    for step in getattr(transform, "transforms", ()):
        try:
            return read_transform(step)
        except ValueError:
            continue
    raise ValueError("transform: contains no normalization with mean and std")


def encode_png(levels: NDArray[np.uint8]) -> bytes:
    """Levels (D, H, W) of one or three channels as PNG of 8 bits."""
    depth, height, width = levels.shape
    rows = np.ascontiguousarray(levels.transpose(1, 2, 0)).reshape(height, width * depth)
    # Each row begins with its filter: 0, none.
    scanlines = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, COLOR_TYPES[depth], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(scanlines, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _numbers(values: Any) -> list[float]:
    return [float(value) for value in np.asarray(values).reshape(-1)]


def _by_channel(name: str, values: Sequence[float] | float, depth: int) -> tuple[float, ...]:
    numbers = _numbers(values)
    numbers = numbers * depth if len(numbers) == 1 else numbers
    if len(numbers) != depth:
        raise ValueError(f"{name}: must have {depth} values, one per channel")
    low, high = (0.0, 1.0) if name == "mean" else (1e-3, 1.0)
    if not all(low <= number <= high for number in numbers):
        raise ValueError(f"{name}: must be from {low:g} to {high:g}, on the scale of levels 0..1")
    return tuple(numbers)
