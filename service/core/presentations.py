"""Presentations: how a network rated the training images of an epoch as it was trained on them."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

MAX_TRACKED_IMAGES = 100_000
"""Images whose presentations are recorded, at most: of a larger split, every n-th image."""

BLOCK_VALUES = 2**20
"""Logits that are kept until they are rated together: one call per block instead of per batch."""

PROBABILITY_LEVELS = 255
"""Probabilities are stored as 0..255, accurate to 0.002."""


@dataclass(frozen=True)
class Presentations:
    """The tracked images of one epoch, N in ascending order, each rated before its update.

    Rated as drawn: by the network in training mode, dropout and augmentation on.
    """

    indices: npt.NDArray[np.uint32]  # of the training split (N,)
    levels: npt.NDArray[np.uint8]  # probability of the given label times 255 (N,)
    is_correct: npt.NDArray[np.bool_]  # whether the given label had the largest score (N,)

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Probability of the given label (N,), 0..1."""
        return self.levels / PROBABILITY_LEVELS

    def to_bytes(self) -> bytes:
        """Little-endian: N indices of 4 bytes, N levels, and N bits of correctness."""
        parts = (self.indices.astype("<u4"), self.levels, np.packbits(self.is_correct))
        return b"".join(part.tobytes() for part in parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Presentations":
        """The presentations of `to_bytes`. Raises ValueError for other bytes."""
        # 5 bytes and a bit for each image: 41 / 8 bytes, rounded up.
        count = len(data) * 8 // 41
        if len(data) != 5 * count + math.ceil(count / 8):
            raise ValueError("the presentations have an impossible length")
        indices = np.frombuffer(data, "<u4", count).astype(np.uint32)
        if (np.diff(indices.astype(np.int64)) <= 0).any():
            raise ValueError("the images of the presentations are not in ascending order")
        levels = np.frombuffer(data, np.uint8, count, 4 * count)
        bits = np.unpackbits(np.frombuffer(data, np.uint8, offset=5 * count), count=count)
        return cls(indices, levels, bits.astype(np.bool_))


def tracking_stride(train_size: int) -> int:
    """The distance between tracked images of a training split; 1: all are tracked."""
    return max(1, math.ceil(train_size / MAX_TRACKED_IMAGES))


class PresentationRecorder:
    """Rates the batches of one epoch, block by block. Its memory does not grow with the epochs."""

    def __init__(self, train_size: int) -> None:
        self._stride = tracking_stride(train_size)
        self._logits: list[Tensor] = []  # on the device, as are the labels and indices
        self._labels: list[Tensor] = []
        self._indices: list[Tensor] = []
        self._values = 0
        self._ratings: list[tuple[Tensor, Tensor, Tensor]] = []  # of earlier blocks
        self._hits: Tensor | int = 0

    def record(self, indices: Tensor, labels: Tensor, logits: Tensor) -> None:
        """A batch: indices and labels int64 (B,), logits (B, C) before the update."""
        self._logits.append(logits.detach())
        self._labels.append(labels)
        self._indices.append(indices)
        self._values += logits.numel()
        if self._values >= BLOCK_VALUES:
            self._rate_block()

    def finish(self) -> tuple[Presentations, int]:
        """The presentations, and how many images of the epoch were correct, tracked or not."""
        if self._logits:
            self._rate_block()
        indices, levels, is_correct = (
            torch.cat(parts).cpu() for parts in zip(*self._ratings, strict=True)
        )
        order = indices.argsort()
        presentations = Presentations(
            indices[order].numpy().astype(np.uint32),
            levels[order].numpy(),
            is_correct[order].numpy(),
        )
        return presentations, int(self._hits)

    def _rate_block(self) -> None:
        logits, labels = torch.cat(self._logits), torch.cat(self._labels)
        indices = torch.cat(self._indices)
        self._logits, self._labels, self._indices, self._values = [], [], [], 0
        is_correct = logits.argmax(1) == labels
        self._hits = self._hits + is_correct.sum()
        probabilities = logits.float().softmax(1).gather(1, labels[:, None])[:, 0]
        levels = (probabilities.nan_to_num(0) * PROBABILITY_LEVELS).round().to(torch.uint8)
        if self._stride > 1:
            tracked = indices % self._stride == 0
            indices, levels, is_correct = indices[tracked], levels[tracked], is_correct[tracked]
        self._ratings.append((indices, levels, is_correct))


def repeat_share(labels: Tensor) -> float | None:
    """Share of neighbors of one class among labels int64 (N,) in the order of training.

    About the sum of the squared class shares for shuffled labels, near 1 for sorted ones; None for
    fewer than two.
    """
    if len(labels) < 2:
        return None
    return float((labels[1:] == labels[:-1]).double().mean())
