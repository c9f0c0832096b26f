"""Products with the Jacobian of a chain of operators on vectors, in closed form.

Above a pooled value most networks have a few operators, one after the other: linear layers,
elementwise functions, a normalization. The Jacobian of each is a matrix, a diagonal, or a
projection, so that no graph is needed and the first product of a class is a row of the last matrix.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from camreel.program.evaluation import PreparedStep
from camreel.program.format import Program, Step
from camreel.program.references import TensorReference, value_indices

ELEMENTWISE = frozenset(
    """relu sigmoid tanh silu mish selu hardswish hardsigmoid gelu hardtanh leaky_relu elu softplus
    neg abs exp sqrt clamp batch_norm add sub mul div""".split()  # noqa: SIM905  a list is a line each
)
"""Operators that treat each number of a vector by itself, if they read no second value."""
MOVES = frozenset({"reshape", "permute"})
"""Operators that do not change the order of a vector."""

CHUNK_NUMBERS = 2**22
"""How many numbers the products of one chunk of vectors hold, at most: 16 MiB."""


class Link(Protocol):
    """The Jacobian of one operator at its operand."""

    def pull(self, products: Tensor) -> Tensor:
        """Vectors times the Jacobian: (V, N, J), or (V, 1, J) for all images, to (V, N, K)."""


@dataclass(frozen=True)
class MatrixLink:
    """Of a linear layer, or of a convolution on a single position: its weight (J, K)."""

    weight: Tensor

    def pull(self, products: Tensor) -> Tensor:
        """(V, N, J) to (V, N, K)."""
        return products @ self.weight


@dataclass(frozen=True)
class DiagonalLink:
    """Of an elementwise function: its derivatives (N, K)."""

    slopes: Tensor

    def pull(self, products: Tensor) -> Tensor:
        """(V, N, K) to (V, N, K)."""
        return products * self.slopes


@dataclass(frozen=True)
class NormalizationLink:
    """Of a layer normalization, with the normalized vectors (N, K) and 1 / deviation (N, 1)."""

    normalized: Tensor
    inverse_deviation: Tensor
    weight: Tensor | None

    def pull(self, products: Tensor) -> Tensor:
        """(V, N, K) to (V, N, K): what mean and deviation take away is projected out."""
        if self.weight is not None:
            products = products * self.weight
        centered = products - products.mean(2, keepdim=True)
        along = (products * self.normalized).mean(2, keepdim=True)
        return (centered - along * self.normalized) * self.inverse_deviation


class Chain:
    """Steps on vectors (N, K), each of which reads the result of the one before."""

    def __init__(
        self, source: int, sizes: Sequence[int], entries: Sequence[tuple[Step, PreparedStep]]
    ) -> None:
        """`source` is the index of the value that the first step reads, of shape (N, *sizes)."""
        self.source = source
        self.sizes = sizes
        self.entries = entries

    def run(self, pooled: Tensor) -> "ChainRun":
        """The chain evaluated on p (N, K)."""
        return ChainRun(self, pooled.view(len(pooled), *self.sizes))


class ChainRun:
    """A chain evaluated on N images."""

    @torch.no_grad()
    def __init__(self, chain: Chain, pooled: Tensor) -> None:
        self._chain = chain
        self._signals = [pooled]
        values = {chain.source: pooled}
        for _, step in chain.entries:
            values[step.value] = step.evaluate(values, len(pooled))
            self._signals.append(values[step.value])

    @property
    def pre_activations(self) -> Tensor:
        """x (N, C)."""
        return self._signals[-1]

    def class_gradients(self, classes: Sequence[int]) -> Tensor:
        """d x_c / d p for those classes (c, N, K)."""
        images, count = self.pre_activations.shape
        rows = torch.as_tensor(list(classes), device=self.pre_activations.device)
        *links, last = self._links
        if isinstance(last, MatrixLink):
            products = last.weight[rows].unsqueeze(1)
        else:
            one_hot = torch.nn.functional.one_hot(rows, count).to(self.pre_activations)
            products, links = one_hot.unsqueeze(1), self._links
        return self._pull(links, products).expand(-1, images, -1)

    def gradients(self, cotangents: Tensor) -> Tensor:
        """d (sum_c v_c x_c) / d p for V vectors v (V, N, C): (V, N, K)."""
        return self._pull(self._links, cotangents)

    @torch.no_grad()
    def _pull(self, links: Sequence[Link], products: Tensor) -> Tensor:
        widest = max(signal[0].numel() for signal in self._signals)
        size = max(1, CHUNK_NUMBERS // (len(self.pre_activations) * widest))
        return torch.cat([_pull(links, chunk) for chunk in torch.split(products, size)])

    @cached_property
    def _links(self) -> list[Link]:
        entries = zip(self._chain.entries, self._signals, strict=False)
        links = (_link(step, prepared, signal) for (step, prepared), signal in entries)
        return [link for link in links if link is not None]


def _pull(links: Sequence[Link], products: Tensor) -> Tensor:
    for link in reversed(links):
        products = link.pull(products)
    return products


def match_chain(
    program: Program, source: int, entries: Sequence[tuple[Step, PreparedStep]]
) -> Chain | None:
    """The steps above a value as a chain; None if they are none, or if one has no closed form."""
    previous = source
    for step, prepared in entries:
        operand_values = {
            index for argument in step.arguments.values() for index in value_indices(argument)
        }
        if operand_values != {previous} or not _has_link(program, step, previous):
            return None
        previous = prepared.value
    sizes = [size for size in program.shapes[source][1:] if isinstance(size, int)]
    return Chain(source, sizes, entries) if entries else None


def _has_link(program: Program, step: Step, operand: int) -> bool:
    width_below, width_above = _width(program.shapes[operand]), _width(step.shape)
    if width_below is None or width_above is None:
        return False
    match step.operator:
        case "linear":
            return isinstance(step.arguments.get("weight"), TensorReference)
        case "conv2d":
            weight = step.arguments.get("weight")
            return isinstance(weight, TensorReference) and program.tensors_by_name[
                weight.name
            ].shape == (width_above, width_below, 1, 1)
        case "layer_norm":
            return math.prod(step.integers("normalized_shape")) == width_below == width_above
    # Of a shape, since broadcasting could repeat a number.
    is_elementwise = step.operator in ELEMENTWISE and program.shapes[operand] == step.shape
    return is_elementwise or (step.operator in MOVES and width_below == width_above)


def _width(shape: Sequence[object]) -> int | None:
    """K of a vector (N, K) in any shape such as (N, K, 1, 1); None of other values."""
    sizes = [size for size in shape[1:] if size != 1]
    if len(sizes) > 1 or not all(isinstance(size, int) for size in sizes):
        return None
    return math.prod(size for size in sizes if isinstance(size, int))


def _link(step: Step, prepared: PreparedStep, signal: Tensor) -> Link | None:
    """The Jacobian of a step at its operand; None if it is the identity."""
    if step.operator in MOVES:
        return None
    if step.operator in ("linear", "conv2d"):
        return MatrixLink(prepared.argument("weight").flatten(1))
    if step.operator == "layer_norm":
        vectors = signal.flatten(1)
        centered = vectors - vectors.mean(1, keepdim=True)
        variance = centered.square().mean(1, keepdim=True)
        inverse_deviation = torch.rsqrt(variance + prepared.argument("eps"))
        weight = prepared.argument("weight")
        return NormalizationLink(
            centered * inverse_deviation,
            inverse_deviation,
            None if weight is None else weight.flatten(),
        )
    with torch.enable_grad():
        operand = signal.detach().requires_grad_()
        total = prepared.evaluate(dict.fromkeys(prepared.operands, operand), len(operand)).sum()
    (slopes,) = torch.autograd.grad(total, operand)
    return DiagonalLink(slopes.flatten(1))
