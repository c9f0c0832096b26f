"""Class-mean maps: the mean map of each class's images, which shows what a class is decided by.

Single maps differ between seeds as much as between settings; their means over a class do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.core.cams.maps import explain_images
from service.core.images import Pixels
from service.core.input import InputSpec
from service.core.models.network import Network

CLASS_MEAN_METHOD = "hires-cam/centered"
"""Draelos and Carin 2020, for the class's score minus the mean over the classes."""

IMAGES_PER_CLASS = 20

Maps = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ClassImages:
    """The images of a class: pixels uint8 (D, H, W) each."""

    class_index: int
    pixels: Sequence[Pixels]

    @property
    def mean_level(self) -> Maps:
        """Mean image over images and channels, (H, W), 0..1."""
        levels = np.stack([image.numpy() for image in self.pixels]).astype(np.float32) / 255
        mean: Maps = levels.mean(axis=(0, 1))
        return mean


def class_mean_maps(
    network: Network, classes: Sequence[ClassImages], input_spec: InputSpec | None
) -> Maps:
    """Mean signed map (K, h, w) of each class's images for that class, at the default layer."""
    rows = []
    for images in classes:
        maps = explain_images(
            network,
            images.pixels,
            network.default_layer,
            [CLASS_MEAN_METHOD],
            [images.class_index],
            input_spec=input_spec,
        )
        rows.append(maps.signed[CLASS_MEAN_METHOD][:, 0].mean(axis=0))
    return np.stack(rows)
