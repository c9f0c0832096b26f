"""Images with labels on which networks are examined."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from service.core.datasets.dataset import Dataset
from service.core.images import Pixels
from service.core.insight.exchange import POOL_PER_CLASS

MAX_SAMPLE_VALUES = 60_000_000
"""Values of all images of a sample, 4 bytes each: large images are fewer per class."""


@dataclass(frozen=True)
class LabeledSample:
    """Images float32 (N, D, H, W), 0..1, and their labels int64 (N,)."""

    images: Tensor
    labels: Tensor


def sample_training_images(data: Dataset, seed: int) -> LabeledSample:
    """Training images drawn at random, up to POOL_PER_CLASS of each class.

    Fewer of large images, so that they take bounded memory.
    """
    labels = data.train.labels.cpu()
    class_count = len(data.class_names)
    values_per_image = data.train.images[0].numel()
    per_class = min(POOL_PER_CLASS, MAX_SAMPLE_VALUES // (values_per_image * class_count))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    shuffled_labels = labels[order]
    rows = torch.cat(
        [order[shuffled_labels == class_index][:per_class] for class_index in range(class_count)]
    )
    return LabeledSample(data.train.images[rows].cpu().float() / 255, labels[rows])


def stack_images(pixels: Sequence[Pixels], labels: Sequence[int]) -> LabeledSample:
    """A sample of the images uint8 (D, H, W) of one size."""
    images = torch.stack([image.float() / 255 for image in pixels]) if pixels else torch.empty(0)
    return LabeledSample(images, torch.tensor(labels, dtype=torch.int64))
