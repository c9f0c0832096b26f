"""Mosaics of four photos for a pretrained network: where each class is, is known.

Needs the packages that `scripts/photo_figures.py` lists. The photos are scikit-image's and free of
copyright: `chelsea`, `coffee` and `camera` are CC0, `rocket` is in the public domain. Each one's
class is what the network takes its center for, with the probability noted.
"""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import skimage.data
import torch
from PIL import Image
from torch import Tensor

from scripts.photo_figures import CLASS_NAMES, INPUT
from service.core.input import Crop, InputSpec, Resize
from service.core.measures.quarters import arrange_quarters

SIDE_PIXELS = 320
"""Of a mosaic. The last layer has 10 x 10 positions, so that no quarter shares one by its size."""

PHOTOS = {
    "chelsea": "Egyptian cat",  # 0.57
    "coffee": "espresso",  # 0.99
    "camera": "tripod",  # 1.00
    "rocket": "drilling platform",  # 0.82: the launch site
}
CLASSES = [CLASS_NAMES.index(name) for name in PHOTOS.values()]
MOSAIC_INPUT = InputSpec(
    resize=Resize(size=[SIDE_PIXELS]),
    crop=Crop(size=[SIDE_PIXELS]),
    mean=INPUT.mean,
    std=INPUT.std,
)
LATIN_SQUARE = [(0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0)]
"""Arrangements in which each photo is in each quarter once."""

ARRANGEMENTS = LATIN_SQUARE + [
    order for order in permutations(range(len(PHOTOS))) if order not in LATIN_SQUARE
]
"""All arrangements: the photo in each quarter, row by row."""


def tile(name: str) -> Tensor:
    """The central square of a photo, uint8 (3, 160, 160)."""
    photo = Image.fromarray(getattr(skimage.data, name)()).convert("RGB")
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    square = photo.crop((left, top, left + side, top + side))
    half = SIDE_PIXELS // 2
    small = square.resize((half, half), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)


def photo_mosaics(arrangements: Sequence[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    """Mosaics uint8 (N, 3, 320, 320), and the quarter int64 (N, 4) of each of CLASSES in them."""
    tiles = torch.stack([tile(name) for name in PHOTOS])
    orders = torch.tensor(arrangements)
    mosaics = torch.stack([arrange_quarters(tiles[order]) for order in orders])
    return mosaics, orders.argsort(1)
