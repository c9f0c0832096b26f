"""Digits in one quarter of an image, beside blocks without information: BlockMNIST.

Shah, Jain and Netrapalli, "Do Input Gradients Highlight Discriminative Features?" (NeurIPS 2021,
arXiv:2102.12781), place one digit and one null block. Here three null blocks leave the digit one
quarter of the image, so that a map without any knowledge has a quarter of itself there.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from service.core.datasets.dataset import Dataset, Split

SIDE_PIXELS = 28
"""Of a block. Images have twice as many on each axis."""

MARGIN_PIXELS = 4
"""Between a block's border and its null pattern, as around MNIST's digits."""

STROKE_PIXELS = 2
WHITE = 255


@dataclass(frozen=True)
class BlockSplit:
    """Images of four blocks with their labels, and where the digits are."""

    split: Split  # images uint8 (N, 1, 56, 56)
    quarters: Tensor  # int64 (N,): the digit's quarter, 0 to 3, row by row


def null_block() -> Tensor:
    """The block without information, uint8 (28, 28): a square with its diagonals, white on black.

    It is the same in every image and has strokes of a digit's size and brightness.
    """
    side = SIDE_PIXELS - 2 * MARGIN_PIXELS
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    to_border = torch.minimum(
        torch.minimum(rows, side - 1 - rows), torch.minimum(columns, side - 1 - columns)
    )
    to_diagonals = torch.minimum((rows - columns).abs(), (rows + columns - side + 1).abs())
    is_stroke = (to_border < STROKE_PIXELS) | (to_diagonals < STROKE_PIXELS)
    block = torch.zeros(SIDE_PIXELS, SIDE_PIXELS, dtype=torch.uint8)
    inner = slice(MARGIN_PIXELS, MARGIN_PIXELS + side)
    block[inner, inner] = is_stroke * WHITE
    return block


def place_digits(digits: Split, seed: int) -> BlockSplit:
    """Each digit uint8 (1, 28, 28) in a random quarter, null blocks in the others.

    The quarters depend on the seed and the number of digits alone. Raises ValueError for images of
    another shape.
    """
    images = digits.images[torch.arange(len(digits.labels))]
    shape = (1, SIDE_PIXELS, SIDE_PIXELS)
    if images.shape[1:] != shape:
        raise ValueError(f"images: must be of shape {shape}, not {tuple(images.shape[1:])}")
    generator = torch.Generator().manual_seed(seed)
    quarters = torch.randint(4, (len(images),), generator=generator)
    blocks = null_block().repeat(len(images), 4, 1, 1)
    blocks[torch.arange(len(images)), quarters] = images[:, 0]
    grid = blocks.view(-1, 2, 2, SIDE_PIXELS, SIDE_PIXELS).transpose(2, 3)
    cells = grid.reshape(-1, 1, 2 * SIDE_PIXELS, 2 * SIDE_PIXELS)
    return BlockSplit(Split(cells, digits.labels), quarters)


def block_dataset(digits: Dataset, seed: int) -> tuple[Dataset, Tensor]:
    """A dataset of digits with all of its images placed, and the quarters (N,) of its test images.

    Training images use the seed, test images the next one. Raises ValueError as `place_digits`.
    """
    train, test = place_digits(digits.train, seed), place_digits(digits.test, seed + 1)
    name = f"blocks of {digits.name}"
    return Dataset(name, digits.class_names, train.split, test.split), test.quarters
