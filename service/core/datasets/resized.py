"""Built-in datasets with the images that a network sees: other channels, size or crop."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from service.core.datasets.dataset import Dataset, DatasetSource, Split
from service.core.datasets.pixel_cache import CachedImages
from service.core.input import InputSpec
from service.core.resizing import (
    PixelArray,
    convert_channels,
    crop_pixels,
    resize_picture,
    to_channels_first,
)


def resized_source(source: DatasetSource, input_spec: InputSpec) -> DatasetSource:
    """The source with the images that a network of this input sees."""
    if input_spec.has_pixels_of(source.default_input):
        return source
    load = partial(_load_resized, source, input_spec)
    return replace(source, image_shape=input_spec.image_shape, load=load)


def _load_resized(
    source: DatasetSource, input_spec: InputSpec, data_dir: Path, download: bool
) -> Dataset:
    data = source.load(data_dir, download)
    train, test = (
        Split(_resize_images(split.images, input_spec), split.labels)
        for split in (data.train, data.test)
    )
    return replace(data, train=train, test=test)


def _resize_images(images: Tensor | CachedImages, input_spec: InputSpec) -> Tensor:
    resized = torch.empty(len(images), *input_spec.image_shape, dtype=torch.uint8)
    for index in range(len(images)):
        resized[index] = torch.from_numpy(seen_pixels(images[index], input_spec))
    return resized


def seen_pixels(image: Tensor, input_spec: InputSpec) -> PixelArray:
    """Pixels uint8 (D, h, w) that the network sees of a stored image uint8 (D, H, W)."""
    samples = image.permute(1, 2, 0).numpy()
    picture = Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)
    picture = resize_picture(convert_channels(picture, input_spec), input_spec.resize)
    return crop_pixels(to_channels_first(picture), input_spec).copy()
