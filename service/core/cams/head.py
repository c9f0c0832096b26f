"""The head of a network above a cut, run on activations: its units, and their gradients."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from service.core.cams.closed_form import ClosedHead, ClosedPass
from service.core.cams.targets import Outputs
from service.core.cancellation import raise_if_cancelled
from service.core.models.stages import Convolution, OutputActivation

# Bytes that the gradients of one chunk of classes may take, unless told otherwise.
GRADIENT_CHUNK_BYTES = 256 * 2**20


class HeadPass:
    """The stages above a cut, run on activations A (N, K, H, W).

    What is costly is computed when it is first asked for.
    """

    def __init__(
        self,
        head: Sequence[nn.Module],
        activations: Tensor,
        output_activation: OutputActivation,
        gradient_bytes: int = GRADIENT_CHUNK_BYTES,
    ) -> None:
        self.gradient_bytes = gradient_bytes
        self.head = head
        self.activations = activations
        self.output_activation: OutputActivation = output_activation

    @cached_property
    def pre_activations(self) -> Tensor:
        """x (N, C), before the output activation."""
        with torch.no_grad():
            if self._closed is not None:
                return self._closed.pre_activations
            if self._behind_convolution is not None:
                return self._behind_convolution[1].pre_activations
            signal = self.activations
            for stage in self.head:
                signal = stage(signal)
            return signal

    @property
    def outputs(self) -> Outputs:
        """What the targets take."""
        return Outputs(self.pre_activations, self.output_activation)

    @property
    def logits(self) -> Tensor:
        """What softmax takes (N, C): x behind the output activation."""
        return self.outputs.logits

    @cached_property
    def channel_weights(self) -> Tensor:
        """alpha of equation 4 for all units (N, C, K): mean over positions of d x_c / d A_k."""
        with torch.no_grad():
            positions = self.activations.shape[2] * self.activations.shape[3]
            if self._closed is not None:
                return self._closed.position_sums() / positions
            if self._behind_convolution is not None:
                convolution, passed = self._behind_convolution
                return passed.position_sums() @ convolution.weight.sum((2, 3)) / positions
        return vector_jacobian(self.head, self.activations, self.gradient_bytes)[1]

    @cached_property
    def pre_activation_maps(self) -> Tensor:
        """The sum of equation 2 for all units at once (N, C, H W)."""
        return self.channel_weights @ self.activations.flatten(2)

    @property
    def has_closed_form(self) -> bool:
        """Whether `unit_weights` of all classes cost no backward pass."""
        return self._closed is not None or self._behind_convolution is not None

    def gradients(
        self, mixing: Tensor | None, classes: Sequence[int], factor: int = 1
    ) -> Iterator[Tensor]:
        """d score_c / d A for those classes, in chunks of them: each (c, N, K, H, W).

        M (N, C, C) tells the score by the units; None takes the units. `factor` is how many such
        tensors the caller holds at once: chunks are so small that all of them stay in bounds.
        """
        chosen = torch.as_tensor(list(classes), device=self.pre_activations.device)
        if mixing is None:
            mixing = self.outputs.identity
        cotangents = mixing[:, chosen].transpose(0, 1)
        for some in torch.split(
            cotangents, chunk_size(self.activations, self.gradient_bytes // factor)
        ):
            yield self._gradients_of(some)

    def with_activations(self, activations: Tensor) -> "HeadPass":
        """The same head on other activations (N', K, H, W)."""
        return HeadPass(self.head, activations, self.output_activation, self.gradient_bytes)

    def _gradients_of(self, cotangents: Tensor) -> Tensor:
        with torch.no_grad():
            if self._closed is not None:
                closed = self._closed.gradients(cotangents)
                if closed is not None:
                    return closed
            if self._behind_convolution is not None:
                convolution, passed = self._behind_convolution
                above = passed.gradients(cotangents)
                if above is not None:
                    size = self.activations.shape[2:]
                    below = convolution.input_gradients(above.flatten(0, 1), (size[0], size[1]))
                    return below.view(*above.shape[:2], *below.shape[1:])
        return self._graph.gradients(cotangents)

    @cached_property
    def _graph(self) -> "HeadGraph":
        return HeadGraph(self.head, self.activations)

    @cached_property
    def _closed(self) -> ClosedPass | None:
        head = ClosedHead.match(self.head)
        return None if head is None else ClosedPass(head, self.activations)

    @cached_property
    def _behind_convolution(self) -> tuple[Convolution, ClosedPass] | None:
        """A convolution whose taps meet every position alike, and a head of closed form behind it.

        The sum over positions of its gradient by A is that of the gradient by its output times the
        sum of its taps, so that the transposed convolution itself is never computed.
        """
        match self.head:
            case [Convolution() as first, *rest] if first.padding == (0, 0) and first.groups == 1:
                head = ClosedHead.match(rest)
            case _:
                return None
        if head is None or not isinstance(head.pooling, nn.MaxPool2d | None):
            return None  # only maximum pooling commutes with ReLU
        return first, ClosedPass(head, first.convolve(self.activations), rectified=True)


def chunk_size(activations: Tensor, chunk_bytes: int) -> int:
    """How many tensors of the activations' size a chunk may have."""
    return max(1, chunk_bytes // max(1, activations.nbytes))


def vector_jacobian(
    head: Sequence[nn.Module], activations: Tensor, chunk_bytes: int = GRADIENT_CHUNK_BYTES
) -> tuple[Tensor, Tensor]:
    """Units (N, C) and alpha (N, C, K) of any head, by its vector-Jacobian product.

    Batched over classes, in chunks that bound the memory.
    """
    graph = HeadGraph(head, activations)
    images, classes = graph.units.shape
    # Images are independent, so the gradient of the sum over them holds each one's own.
    eye = torch.eye(classes, dtype=activations.dtype, device=activations.device)
    one_hot = eye.unsqueeze(1).expand(-1, images, -1)
    weights = [
        graph.gradients(some).mean((-2, -1))
        for some in torch.split(one_hot, chunk_size(activations, chunk_bytes))
    ]
    return graph.units, torch.cat(weights).transpose(0, 1)


class HeadGraph:
    """Any head run once with autograd's graph kept, for as many products as are asked for."""

    def __init__(self, head: Sequence[nn.Module], activations: Tensor) -> None:
        with torch.enable_grad():
            self.leaf = activations.detach().requires_grad_()
            signal = self.leaf
            for stage in head:
                signal = stage(signal)
        self.connected_units: Tensor = signal  # x (N, C), with its graph

    @property
    def units(self) -> Tensor:
        """x (N, C)."""
        return self.connected_units.detach()

    def gradients(self, cotangents: Tensor) -> Tensor:
        """d (sum_c v_c x_c) / d A for V vectors v (V, N, C): (V, N, K, H, W)."""
        raise_if_cancelled()
        (found,) = torch.autograd.grad(
            self.connected_units, self.leaf, cotangents, retain_graph=True, is_grads_batched=True
        )
        return found
