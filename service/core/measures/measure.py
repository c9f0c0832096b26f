"""The entries of the table of measures, and the batches of maps that they evaluate."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import torch
from torch import Tensor

from service.core.cancellation import raise_if_cancelled
from service.core.input import InputSpec
from service.core.models.network import Network
from service.core.preprocessing import baseline_images

PASS_BYTES = 64 * 2**20
"""Bound of the input and output of a pass's largest stage, in bytes. Small passes stay in the
processor's caches, so a larger bound would not be faster."""

ExplainFunction = Callable[[Network, Tensor, Tensor], Tensor]
"""A network, images (N, D, h, w) and their classes (N,) to maps (N, h, w), >= 0, on the pixels."""


class Direction(StrEnum):
    """Which values of a measure are better."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True)
class EvaluationBatch:
    """The maps of N images by one method, with the network and images that they explain.

    The network is in evaluation mode. Measures change nothing; they share results by `cached`.
    """

    network: Network
    images: Tensor  # float32 (N, D, h, w), the network's input
    classes: Tensor  # int64 (N,)
    maps: Tensor  # float32 (N, h, w), >= 0, on the image's pixels
    explain: ExplainFunction
    untrained: Network | None = None  # the same run's network at epoch 0
    mask: Tensor | None = None  # bool (N, h, w): the object's pixels, where annotated
    seed: int = 0  # of all random numbers
    input_spec: InputSpec | None = None  # what the images were made by; None: levels 0..1
    _results: dict[object, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def cached(self, compute: Callable[["EvaluationBatch"], Tensor]) -> Tensor:
        """`compute(self)`, computed once."""
        if compute not in self._results:
            self._results[compute] = compute(self)
        return self._results[compute]

    @cached_property
    def normalized_maps(self) -> Tensor:
        """The maps divided by their peaks, 0..1 (N, h, w); a map of zeros stays one."""
        return divide_by_peak(self.maps)

    @cached_property
    def baseline(self) -> Tensor:
        """What removed pixels are replaced by (N, D, h, w)."""
        return baseline_images(self.images, self.input_spec)

    @cached_property
    def ranks(self) -> Tensor:
        """Each pixel's rank by relevance, int64 (N, h, w): 0 is the most relevant.

        Of equal pixels the first one in row-major order is the more relevant.
        """
        order = self.maps.flatten(1).sort(dim=1, descending=True, stable=True).indices
        ranks = torch.arange(order.shape[1], device=order.device).expand_as(order)
        return torch.empty_like(order).scatter_(1, order, ranks).view_as(self.maps)

    @cached_property
    def confidences(self) -> Tensor:
        """Probability of each image's class (N,)."""
        return confidences(self.network, self.images, self.classes)

    def confidences_of(self, versions: int, change: Callable[[slice], Tensor]) -> Tensor:
        """Probability of each image's class in its `versions` changed versions, (N, versions).

        `change` returns the versions of a slice of the images, (n, versions, D, h, w).
        """
        slice_size = max(1, images_per_pass(self.network, self.images) // versions)
        probabilities = []
        for start in range(0, len(self.images), slice_size):
            rows = slice(start, start + slice_size)
            classes = self.classes[rows].repeat_interleave(versions)
            images = change(rows).flatten(0, 1)
            probabilities.append(confidences(self.network, images, classes).view(-1, versions))
        return torch.cat(probabilities)


@dataclass(frozen=True)
class Measure:
    """One entry of the table. `compute` gives a value for each image (N,)."""

    name: str
    title: str
    description: str
    formula: str
    source: str
    year: int
    range: tuple[float, float | None]  # None: no upper bound
    better_direction: Direction
    compute: Callable[[EvaluationBatch], Tensor]
    needs_untrained: bool = False  # the network of epoch 0


def divide_by_peak(maps: Tensor) -> Tensor:
    """Maps (N, h, w), >= 0, divided by their peaks; a map of zeros stays one."""
    peaks = maps.flatten(1).amax(1)[:, None, None]
    return maps / torch.where(peaks > 0, peaks, 1)


@torch.no_grad()
def confidences(network: Network, images: Tensor, classes: Tensor) -> Tensor:
    """softmax(o)_c of each image for its own class (N,), in passes of bounded memory."""
    probabilities = []
    for chunk, labels in split_together(images_per_pass(network, images), images, classes):
        raise_if_cancelled()
        softmax = network.logits(network(chunk)).softmax(1)
        probabilities.append(softmax.gather(1, labels.unsqueeze(1)).squeeze(1))
    return torch.cat(probabilities)


def split_together(size: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Corresponding chunks of at most `size` rows of tensors (N, ...)."""
    return zip(*(torch.split(tensor, size) for tensor in tensors), strict=True)


def images_per_pass(network: Network, images: Tensor) -> int:
    """How many images of this shape a pass takes within PASS_BYTES, at least 1."""
    return max(1, PASS_BYTES // max(1, network.count_values(images[:1]) * images.element_size()))
