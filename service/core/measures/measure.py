"""What a measure of a map's worth is, and what it is given."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from service.core.cancellation import raise_if_cancelled
from service.core.models import StagedNetwork
from service.core.models.stages import INPUT

BATCH_BYTES = 64 * 2**20
"""What a pass's largest stage may hold, its input and output together. Small batches stay in the
processor's caches, so a larger bound would not be faster."""

Explain = Callable[[StagedNetwork, Tensor, Tensor], Tensor]
"""A network, images (N, D, h, w) and their classes (N,) to maps (N, h, w), >= 0, on the pixels."""


@dataclass(frozen=True)
class EvaluationBatch:
    """The maps of N images by one method, and all that says what they are worth.

    The network is in evaluation mode. Measures change none of it: they share what they compute.
    """

    network: StagedNetwork
    images: Tensor  # float32 (N, D, h, w), 0..1
    classes: Tensor  # int64 (N,)
    maps: Tensor  # float32 (N, h, w), >= 0, on the image's pixels
    explain: Explain
    untrained: StagedNetwork | None = None  # the same run's network at epoch 0
    mask: Tensor | None = None  # bool (N, h, w): where the object is, if that was annotated
    seed: int = 0  # of all random numbers
    _known: dict[object, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def cached(self, compute: Callable[["EvaluationBatch"], Tensor]) -> Tensor:
        """What `compute` says of this subject, computed when it is first asked for."""
        if compute not in self._known:
            self._known[compute] = compute(self)
        return self._known[compute]

    @cached_property
    def normalized_maps(self) -> Tensor:
        """The maps divided by their peaks, 0..1 (N, h, w); a map of zeros stays one."""
        return divide_by_peak(self.maps)

    @cached_property
    def ranks(self) -> Tensor:
        """Each pixel's place in the order of relevance, int64 (N, h, w): 0 is the most relevant.

        Of equal pixels the one that is read first (row by row) counts as the more relevant.
        """
        order = self.maps.flatten(1).sort(dim=1, descending=True, stable=True).indices
        places = torch.arange(order.shape[1], device=order.device).expand_as(order)
        return torch.empty_like(order).scatter_(1, order, places).view_as(self.maps)

    @cached_property
    def confidences(self) -> Tensor:
        """Probability of each image's class (N,)."""
        return confidences(self.network, self.images, self.classes)

    def confidences_of(self, versions: int, change: Callable[[slice], Tensor]) -> Tensor:
        """Probability of each image's class in its `versions` changed versions, (N, versions).

        `change` makes those of a part of the images, (n, versions, D, h, w): never all at once.
        """
        at_once = max(1, batch_size(self.network, self.images) // versions)
        found = []
        for start in range(0, len(self.images), at_once):
            part = slice(start, start + at_once)
            classes = self.classes[part].repeat_interleave(versions)
            changed = change(part).flatten(0, 1)
            found.append(confidences(self.network, changed, classes).view(-1, versions))
        return torch.cat(found)


@dataclass(frozen=True)
class Measure:
    """One line of the table. `compute` gives a value for each image (N,)."""

    name: str
    title: str
    description: str
    formula: str
    source: str
    year: int
    range: tuple[float, float | None]  # None: no upper bound
    better: Literal["higher", "lower"]
    compute: Callable[[EvaluationBatch], Tensor]
    needs_untrained: bool = False  # the network of epoch 0


def divide_by_peak(maps: Tensor) -> Tensor:
    """Maps (N, h, w), >= 0, divided by their peaks; a map of zeros stays one."""
    peaks = maps.flatten(1).amax(1)[:, None, None]
    return maps / torch.where(peaks > 0, peaks, 1)


@torch.no_grad()
def confidences(network: StagedNetwork, images: Tensor, classes: Tensor) -> Tensor:
    """softmax(o)_c of each image for its own class (N,), in batches of bounded memory."""
    found = []
    for some, own in in_parts(batch_size(network, images), images, classes):
        raise_if_cancelled()
        sure = network.logits(network(some)).softmax(1)
        found.append(sure.gather(1, own.unsqueeze(1)).squeeze(1))
    return torch.cat(found)


def in_parts(at_once: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors (N, ...) in parts of at most `at_once`, side by side."""
    return zip(*(torch.split(tensor, at_once) for tensor in tensors), strict=True)


@torch.no_grad()
def batch_size(network: StagedNetwork, images: Tensor) -> int:
    """How many such images a pass may take within BATCH_BYTES, at least 1."""
    largest, signal = 1, images[:1]
    for stage in network.split_at(INPUT)[1]:
        below, signal = signal, stage(signal)
        largest = max(largest, below.nbytes + signal.nbytes)
    return max(1, BATCH_BYTES // largest)
