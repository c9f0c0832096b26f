"""Resized images in a memory-mapped file, so that memory does not grow with their number."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from service.core.input import InputSpec
from service.core.resizing import PixelArray, crop_pixels
from service.errors import DatasetUnavailable

PIXELS, SIZES = "pixels.bin", "sizes.npy"

CPU = torch.device("cpu")

Indices: TypeAlias = Tensor | slice


@dataclass(frozen=True)
class CachedImages:
    """Images of a cache, indexed like a tensor uint8 (N, D, H, W) of what the network sees.

    An index reads its images, cropped, and no others.
    """

    pixels: npt.NDArray[np.uint8]  # of all images of the cache, one after another
    sizes: npt.NDArray[np.int32]  # height and width of each of these images
    offsets: npt.NDArray[np.int64]  # of their first samples
    input_spec: InputSpec
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, indices: int | Indices) -> Tensor:
        """Images uint8 (N, D, H, W), or one image (D, H, W) for an integer."""
        if isinstance(indices, int):
            return torch.from_numpy(self._cropped_pixels(indices).copy()).to(self.device)
        numbers = (
            list(range(len(self)))[indices] if isinstance(indices, slice) else indices.tolist()
        )
        batch = np.empty((len(numbers), *self.input_spec.image_shape), np.uint8)
        for row, number in enumerate(numbers):
            batch[row] = self._cropped_pixels(number)
        return torch.from_numpy(batch).to(self.device)

    def resized(self, index: int) -> Tensor:
        """An image uint8 (D, h, w) at its resized size, before it is cropped."""
        return torch.from_numpy(self._resized_pixels(index).copy()).to(self.device)

    def to(self, device: torch.device) -> "CachedImages":
        """The same images, whose batches are copied to the device."""
        return replace(self, device=device)

    def select(self, numbers: slice) -> "CachedImages":
        """A range of the images."""
        return replace(self, sizes=self.sizes[numbers], offsets=self.offsets[numbers])

    def _resized_pixels(self, index: int) -> PixelArray:
        height, width = (int(side) for side in self.sizes[index])
        start, channels = int(self.offsets[index]), self.input_spec.channel_count
        samples = self.pixels[start : start + channels * height * width]
        return samples.reshape(channels, height, width)

    def _cropped_pixels(self, index: int) -> PixelArray:
        return crop_pixels(self._resized_pixels(index), self.input_spec)


def open_cache(folder: Path, input_spec: InputSpec) -> CachedImages:
    """The images of a cache. Raises DatasetUnavailable if it is missing or incomplete."""
    try:
        sizes = np.load(folder / SIZES, allow_pickle=False)
        counts = input_spec.channel_count * sizes.astype(np.int64).prod(axis=1)
        pixels = np.memmap(folder / PIXELS, np.uint8, "r")
        with suppress(PermissionError):
            os.utime(folder)  # the time of last use, by which caches are evicted
    except (OSError, ValueError) as error:
        raise DatasetUnavailable("The cache of the image folder cannot be read.") from error
    if len(pixels) != counts.sum():
        raise DatasetUnavailable("The cache of the image folder is incomplete.")
    offsets = np.concatenate([np.zeros(1, np.int64), counts.cumsum()[:-1]])
    return CachedImages(pixels, sizes, offsets, input_spec)


def write_cache(folder: Path, images: Iterable[PixelArray]) -> None:
    """Write resized images (D, h, w) into an empty folder, one after another."""
    sizes: list[tuple[int, int]] = []
    with (folder / PIXELS).open("wb") as file:
        for image in images:
            file.write(np.ascontiguousarray(image).data)
            sizes.append(image.shape[1:])
        file.flush()
        os.fsync(file.fileno())
    np.save(folder / SIZES, np.asarray(sizes, np.int32).reshape(-1, 2))
