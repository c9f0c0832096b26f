"""FullGrad: the score taken apart into shares of the input and of every bias."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor
from torch.overrides import TorchFunctionMode

from service.core.cams.cut import Cut
from service.core.cams.passes import mixed, rows_at_once
from service.core.cams.targets import Target
from service.core.cams.unit_range import unit_range
from service.core.parameters import Parameters


def full_grad(cut: Cut, target: Target, _: Parameters, classes: Sequence[int]) -> Tensor:
    """psi(G X) + sum over layers and channels of psi(b G), (N, c, h, w), >= 0.

    Srinivas and Fleuret 2019 (arXiv:1905.00780), proposition 1 and section 4: b is a channel's
    bias, G the gradient of the score by what the bias is added to, and psi(.) the absolute values,
    rescaled to 0..1 and stretched bilinearly over the image. Only convolutions and batch
    normalisations have a part; what linear layers' biases add has no position.

    Rescaled is each channel by itself, as in pytorch-grad-cam, so that of a bias it only counts
    whether it is 0. (The authors' code rescales a layer's channels together.) Unlike there, nothing
    is added to the divisor, so that maps do not depend on the score's unit; and any call of a
    convolution counts, not only those of two types of modules.
    """
    size = cut.images.shape[2:]
    rows = rows_at_once(cut.network, cut.images[:1])
    maps = []
    for images in torch.split(cut.images, rows):
        of_classes = [
            torch.stack([_stretched(part, size) for part in parts]).sum(0)
            for parts in full_gradients(cut, target, images, classes)
        ]
        maps.append(torch.stack(of_classes, dim=1))
    return torch.cat(maps)


def full_gradients(
    cut: Cut, target: Target, images: Tensor, classes: Sequence[int]
) -> Iterator[list[Tensor]]:
    """For each class the parts: G X (N, D, h, w), then b G (N, K, H, W) of each bias.

    Of a network of ReLU, pooling and linear maps whose linear layers have no biases they sum to the
    unit.
    """
    with torch.enable_grad(), BiasedOutputs() as biased:
        pixels = images.detach().requires_grad_()
        units = cut.network(pixels)
    factors = [pixels.detach(), *(bias.detach() for bias, _ in biased.found)]
    leaves = [pixels, *(output for _, output in biased.found)]
    for class_index in classes:
        with torch.enable_grad():
            score = mixed(cut.network, target, units, class_index).sum()
        found = torch.autograd.grad(score, leaves, retain_graph=True, materialize_grads=True)
        yield [factor * gradient for factor, gradient in zip(factors, found, strict=True)]


class BiasedOutputs(TorchFunctionMode):
    """While entered, keeps this thread's outputs of layers with a bias, beside their biases.

    A mode rather than hooks: it belongs to a thread, so that others may share the network, and
    finds what composite stages call inside.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Tensor, Tensor]] = []
        """Biases (K, 1, 1) and outputs (N, K, H, W), in the order of the calls."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls the function; its output is kept where it has a bias."""
        given = kwargs or {}
        output = func(*args, **given)
        bias = _BIASES[func](*args, **given) if func in _BIASES else None
        if bias is None:
            return output
        self.found.append((bias.view(-1, 1, 1), output))
        # What follows may write into its input, as ReLUs in place do; the kept one stays as it is.
        return output.clone()


def _of_convolution(
    _input: Tensor, _weight: Tensor, bias: Tensor | None = None, *_: Any, **__: Any
) -> Tensor | None:
    return bias


def _of_normalisation(
    _input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *_: Any,
    eps: float = 1e-5,
    **__: Any,
) -> Tensor | None:
    """What is added besides a multiple of the input: b - w mean / sqrt(var + eps)."""
    if running_mean is None or running_var is None:
        return bias
    slope = torch.rsqrt(running_var + eps)
    shift = -running_mean * (slope if weight is None else slope * weight)
    return shift if bias is None else shift + bias


_BIASES: dict[Callable[..., Any], Callable[..., Tensor | None]] = {
    F.conv2d: _of_convolution,
    F.batch_norm: _of_normalisation,
}


def _stretched(part: Tensor, size: Sequence[int]) -> Tensor:
    """sum_k psi of a part's channels (N, h, w). Stretching is linear, so it comes after the sum."""
    summed = unit_range(part.abs()).sum(1, keepdim=True)
    return F.interpolate(summed, list(size), mode="bilinear", align_corners=False).squeeze(1)
