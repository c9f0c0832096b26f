"""Gradients of a network's head by its activations: one backend for each form of head.

`choose_backend` picks the backend from the head's form alone, once for each network and layer.
A backend runs the head on activations A (N, K, H, W) and returns a `HeadRun`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

import torch
from torch import Tensor, nn

from service.core.cams.closed_form import ClosedHead, ClosedPass
from service.core.cancellation import raise_if_cancelled
from service.core.models.network import Crossing, Neck, SplitNetwork, TailRun
from service.core.models.stages import Convolution

GRADIENT_CHUNK_BYTES = 256 * 2**20
"""Default bound of the gradients of one chunk of classes, in bytes."""


class HeadRun(ABC):
    """A head run once on activations: its pre-activations and their gradients."""

    @property
    @abstractmethod
    def pre_activations(self) -> Tensor:
        """x (N, C), before the output activation."""

    @property
    @abstractmethod
    def channel_weights(self) -> Tensor:
        """alpha (N, C, K): mean over positions of d x_c / d A_k. Equation 4."""

    @abstractmethod
    def score_weights(self, score_jacobian: Tensor | None, classes: Sequence[int]) -> Tensor:
        """Mean over positions of d score_c / d A_k for those classes, (N, c, K).

        `score_jacobian` is d score / d x (N, C, C); None: the scores are the pre-activations.
        """

    @abstractmethod
    def gradients(self, cotangents: Tensor) -> Tensor:
        """d (sum_c v_c x_c) / d A for V vectors v (V, N, C): (V, N, K, H, W)."""


class GradientBackend(Protocol):
    """How the gradients of a head are obtained."""

    @property
    def is_closed_form(self) -> bool:
        """Whether channel weights of all classes need no backward pass."""

    def run(self, activations: Tensor, crossing: Crossing | None, chunk_bytes: int) -> HeadRun:
        """The head run on activations (N, K, H, W) and what else crosses the layer.

        Gradients take `chunk_bytes` at a time.
        """


def choose_backend(split: SplitNetwork) -> GradientBackend:
    """The fastest backend for the head of a split."""
    head = ClosedHead.match(split.stages)
    if head is not None:
        return ClosedFormBackend(split, head)
    if split.neck is not None:
        return NeckBackend(split.neck)
    match split.stages:
        case [Convolution() as first, *rest] if first.padding == (0, 0) and first.groups == 1:
            head = ClosedHead.match(rest)
            # Only maximum pooling commutes with ReLU.
            if head is not None and isinstance(head.pooling, nn.MaxPool2d | None):
                return ConvolutionBackend(first, head)
    return AutogradBackend(split)


@dataclass(frozen=True)
class ClosedFormBackend:
    """For heads of pooling, flatten and at most two linear layers; see `closed_form`."""

    split: SplitNetwork
    head: ClosedHead
    is_closed_form = True

    def run(self, activations: Tensor, crossing: Crossing | None, chunk_bytes: int) -> HeadRun:
        """The head run on activations (N, K, H, W)."""
        if self.head.has_closed_gradients:
            return _ClosedRun(self.head, activations)
        evaluate = _evaluation(self.split, crossing)
        return _ClosedWeightsRun(evaluate, self.head, activations, chunk_bytes)


@dataclass(frozen=True)
class ConvolutionBackend:
    """For an unpadded convolution with ReLU below a head of closed form.

    Its taps meet every position alike: the sum over positions of its gradient by A is that of the
    gradient by its output times the sum of its taps, without the transposed convolution.
    """

    convolution: Convolution
    head: ClosedHead
    is_closed_form = True

    def run(
        self,
        activations: Tensor,
        crossing: Crossing | None,  # noqa: ARG002  the protocol's
        chunk_bytes: int,  # noqa: ARG002
    ) -> HeadRun:
        """The head run on activations (N, K, H, W)."""
        return _ConvolutionRun(self.convolution, self.head, activations)


@dataclass(frozen=True)
class NeckBackend:
    """For heads that pool each channel by itself before anything mixes channels.

    With p_k, which depends on A_k alone, d x_c / d A_k = (d x_c / d p_k) (d p_k / d A_k). The sum
    of all p_k gives the second factor of every channel in one backward pass through the pooling.
    The first is the Jacobian of the few layers above, in closed form where they are a chain.
    """

    neck: Neck
    is_closed_form = True

    def run(self, activations: Tensor, crossing: Crossing | None, chunk_bytes: int) -> HeadRun:  # noqa: ARG002  the protocol's
        """The head run on activations (N, K, H, W)."""
        return _NeckRun(self.neck, activations, crossing)


@dataclass(frozen=True)
class AutogradBackend:
    """For any head: vector-Jacobian products, batched over classes."""

    split: SplitNetwork
    is_closed_form = False

    def run(self, activations: Tensor, crossing: Crossing | None, chunk_bytes: int) -> HeadRun:
        """The head run on activations (N, K, H, W)."""
        return _AutogradRun(_evaluation(self.split, crossing), activations, chunk_bytes)


HeadEvaluation = Callable[[Tensor], Tensor]
"""x (N, C) of activations (N, K, H, W)."""


def _evaluation(split: SplitNetwork, crossing: Crossing | None) -> HeadEvaluation:
    return partial(split.head, crossing=crossing)


class _ClosedFormRun(HeadRun):
    """Base of runs whose channel weights of all classes cost less than one backward pass."""

    def score_weights(self, score_jacobian: Tensor | None, classes: Sequence[int]) -> Tensor:
        rows = list(classes)
        if score_jacobian is None:
            return self.channel_weights[:, rows]
        return score_jacobian[:, rows] @ self.channel_weights


class _ClosedRun(_ClosedFormRun):
    def __init__(self, head: ClosedHead, activations: Tensor) -> None:
        with torch.no_grad():
            self._pass = ClosedPass(head, activations)
        self._positions = activations.shape[2] * activations.shape[3]

    @property
    def pre_activations(self) -> Tensor:
        return self._pass.pre_activations

    @cached_property
    def channel_weights(self) -> Tensor:
        with torch.no_grad():
            return self._pass.position_sums() / self._positions

    def gradients(self, cotangents: Tensor) -> Tensor:
        with torch.no_grad():
            return self._pass.gradients(cotangents)


class _ClosedWeightsRun(_ClosedRun):
    """Channel weights in closed form, full gradients by autograd: for average pooling."""

    def __init__(
        self,
        evaluate: HeadEvaluation,
        head: ClosedHead,
        activations: Tensor,
        chunk_bytes: int,
    ) -> None:
        super().__init__(head, activations)
        self._autograd = _AutogradRun(evaluate, activations, chunk_bytes)

    def gradients(self, cotangents: Tensor) -> Tensor:
        return self._autograd.gradients(cotangents)


class _ConvolutionRun(_ClosedFormRun):
    def __init__(self, convolution: Convolution, head: ClosedHead, activations: Tensor) -> None:
        self._convolution = convolution
        self._size = (activations.shape[2], activations.shape[3])
        with torch.no_grad():
            self._pass = ClosedPass(head, convolution.convolve(activations), rectified=True)

    @property
    def pre_activations(self) -> Tensor:
        return self._pass.pre_activations

    @cached_property
    def channel_weights(self) -> Tensor:
        with torch.no_grad():
            taps = self._convolution.weight.sum((2, 3))
            return self._pass.position_sums() @ taps / (self._size[0] * self._size[1])

    def gradients(self, cotangents: Tensor) -> Tensor:
        with torch.no_grad():
            above = self._pass.gradients(cotangents)
            below = self._convolution.input_gradients(above.flatten(0, 1), self._size)
            return below.view(*above.shape[:2], *below.shape[1:])


class _NeckRun(HeadRun):
    def __init__(self, neck: Neck, activations: Tensor, crossing: Crossing | None) -> None:
        self._neck = neck
        self._activations = activations
        self._crossing = crossing

    @cached_property
    def _tail(self) -> "HeadGraph | TailRun":
        with torch.no_grad():
            pooled = self._neck.pool(self._activations, self._crossing)
        if self._neck.run_tail is not None:
            return self._neck.run_tail(pooled)
        return HeadGraph(self._neck.tail, pooled)

    @property
    def pre_activations(self) -> Tensor:
        return self._tail.pre_activations.detach()

    @cached_property
    def channel_weights(self) -> Tensor:
        return self.score_weights(None, range(self.pre_activations.shape[1]))

    def score_weights(self, score_jacobian: Tensor | None, classes: Sequence[int]) -> Tensor:
        if score_jacobian is None:
            by_pooled = self._class_gradients(classes)
        else:
            rows = cotangents_of(self.pre_activations, score_jacobian, classes)
            by_pooled = self._gradients_by_pooled(rows)
        if self._neck.is_mean:
            # The gradient by every position is that by the mean over their number.
            return by_pooled.transpose(0, 1) / self._positions
        return by_pooled.transpose(0, 1) * self._pooling_slopes.mean((2, 3)).unsqueeze(1)

    def gradients(self, cotangents: Tensor) -> Tensor:
        by_pooled = self._gradients_by_pooled(cotangents)
        return by_pooled[..., None, None] * self._pooling_slopes

    @property
    def _positions(self) -> int:
        return self._activations.shape[2:].numel()

    def _class_gradients(self, classes: Sequence[int]) -> Tensor:
        """d x_c / d p for those classes (c, N, K)."""
        images = len(self._activations)
        if self._neck.linear_weights is not None:
            return self._neck.linear_weights[list(classes)].unsqueeze(1).expand(-1, images, -1)
        raise_if_cancelled()
        if isinstance(self._tail, HeadGraph):
            return self._tail.gradients(cotangents_of(self.pre_activations, None, classes))
        return self._tail.class_gradients(classes)

    def _gradients_by_pooled(self, cotangents: Tensor) -> Tensor:
        """d (sum_c v_c x_c) / d p for V vectors v (V, N, C): (V, N, K)."""
        if self._neck.linear_weights is not None:
            return cotangents @ self._neck.linear_weights
        raise_if_cancelled()
        return self._tail.gradients(cotangents)

    @cached_property
    def _pooling_slopes(self) -> Tensor:
        """d p_k / d A_k (N, K, H, W)."""
        if self._neck.is_mean:
            return self._activations.new_tensor(1 / self._positions).expand_as(self._activations)
        with torch.enable_grad():
            activations = self._activations.detach().requires_grad_()
            total = self._neck.pool(activations, self._crossing).sum()
        (slopes,) = torch.autograd.grad(total, activations)
        return slopes


class _AutogradRun(HeadRun):
    def __init__(self, evaluate: HeadEvaluation, activations: Tensor, chunk_bytes: int) -> None:
        self._evaluate = evaluate
        self._activations = activations
        self._chunk_bytes = chunk_bytes

    @cached_property
    def pre_activations(self) -> Tensor:
        with torch.no_grad():
            return self._evaluate(self._activations)

    @cached_property
    def channel_weights(self) -> Tensor:
        return self.score_weights(None, range(self.pre_activations.shape[1]))

    def score_weights(self, score_jacobian: Tensor | None, classes: Sequence[int]) -> Tensor:
        # Gradients of the requested classes alone cost less than one of every pre-activation.
        rows = cotangents_of(self.pre_activations, score_jacobian, classes)
        chunks = torch.split(rows, chunk_size(self._activations, self._chunk_bytes))
        means = [self.gradients(chunk).mean((-2, -1)) for chunk in chunks]
        return torch.cat(means).transpose(0, 1)

    def gradients(self, cotangents: Tensor) -> Tensor:
        return self._graph.gradients(cotangents)

    @cached_property
    def _graph(self) -> "HeadGraph":
        return HeadGraph(self._evaluate, self._activations)


class HeadGraph:
    """A head run once with autograd's graph kept, for any number of vector-Jacobian products."""

    def __init__(self, evaluate: HeadEvaluation, activations: Tensor) -> None:
        with torch.enable_grad():
            self.activations = activations.detach().requires_grad_()
            self.pre_activations: Tensor = evaluate(self.activations)
        """x (N, C), attached to the graph."""

    def gradients(self, cotangents: Tensor) -> Tensor:
        """d (sum_c v_c x_c) / d A for V vectors v (V, N, C): (V, N, K, H, W)."""
        raise_if_cancelled()
        # Images are independent, so the gradient of the sum over them holds each one's own.
        (gradients,) = torch.autograd.grad(
            self.pre_activations,
            self.activations,
            cotangents,
            retain_graph=True,
            is_grads_batched=True,
        )
        return gradients


def cotangents_of(
    pre_activations: Tensor, score_jacobian: Tensor | None, classes: Sequence[int]
) -> Tensor:
    """Rows d score_c / d x of those classes (c, N, C), as vector-Jacobian products take them.

    `score_jacobian` None: the scores are the pre-activations, and the rows are one-hot.
    """
    images, count = pre_activations.shape
    rows = torch.as_tensor(list(classes), device=pre_activations.device)
    if score_jacobian is None:
        one_hot = nn.functional.one_hot(rows, count).to(pre_activations.dtype)
        return one_hot.unsqueeze(1).expand(-1, images, -1)
    return score_jacobian[:, rows].transpose(0, 1)


def chunk_size(activations: Tensor, chunk_bytes: int) -> int:
    """How many tensors of the activations' size fit into a chunk, at least 1."""
    return max(1, chunk_bytes // max(1, activations.nbytes))
