"""Methods that change or decompose backpropagation to the pixels: FullGrad, guided backpropagation.

Both observe the functions that a network calls by a `TorchFunctionMode` rather than by hooks: a
mode belongs to a thread, so that threads may share the network, and sees functions inside composite
stages as well as modules.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor
from torch.overrides import TorchFunctionMode

from service.core.cams.fusion import min_max_scaled
from service.core.cams.layer_pass import LayerPass
from service.core.cams.method import AttributionLevel, Cost, Method
from service.core.cams.passes import linearized_score, rows_per_pass
from service.core.cams.targets import Target
from service.core.parameters import Parameters
from service.errors import InvalidValue


def full_grad(
    layer_pass: LayerPass, target: Target, _: Parameters, classes: Sequence[int]
) -> Tensor:
    """Maps (N, c, h, w), >= 0. Proposition 1 and section 4 of the paper.

    b is a channel's bias, G the gradient of the score by the output that the bias is added to, and
    psi(.) the absolute values, rescaled to 0..1 and stretched bilinearly over the image. Only
    convolutions and batch normalizations have a part; biases of linear layers have no position.

    Each channel is rescaled by itself, as in pytorch-grad-cam, so that only whether a bias is 0
    counts. (The authors' code rescales a layer's channels together.) Unlike there, nothing is added
    to the divisor, so that maps do not depend on the scale of the score, and every call of a
    convolution counts, not only calls of two types of modules.
    """
    size = layer_pass.images.shape[2:]
    rows = rows_per_pass(layer_pass.network, layer_pass.images[:1])
    maps = []
    for images in torch.split(layer_pass.images, rows):
        class_maps = [
            torch.stack([_stretch(term, size) for term in terms]).sum(0)
            for terms in full_gradients(layer_pass, target, images, classes)
        ]
        maps.append(torch.stack(class_maps, dim=1))
    return torch.cat(maps)


FULL_GRAD = Method(
    name="full-grad",
    title="FullGrad",
    description="The contributions of pixels and of the biases of every convolution and "
    "normalization to the score, summed.",
    formula="psi(G X) + sum_lk psi(b_lk G^lk), psi: |.|, to 0..1, stretched",
    source="Srinivas and Fleuret, Full-Gradient Representation (arXiv:1905.00780)",
    year=2019,
    cost=Cost.GRADIENT,
    compute=full_grad,
    attribution_level=AttributionLevel.INPUT,
)


def full_gradients(
    layer_pass: LayerPass, target: Target, images: Tensor, classes: Sequence[int]
) -> Iterator[list[Tensor]]:
    """The terms of each class: G X (N, D, h, w), then b G (N, K, H, W) of each bias.

    They sum to the pre-activation for a network of ReLU, pooling and linear maps whose linear
    layers have no biases.
    """
    with torch.enable_grad(), BiasedOutputs() as biased:
        pixels = images.detach().requires_grad_()
        pre_activations = layer_pass.network(pixels)
    if not biased.calls:
        raise InvalidValue(
            "method", "full-grad needs a convolution or a batch normalization with a bias"
        )
    factors = [pixels.detach(), *(bias.detach() for bias, _ in biased.calls)]
    leaves = [pixels, *(output for _, output in biased.calls)]
    for class_index in classes:
        with torch.enable_grad():
            score = linearized_score(layer_pass.network, target, pre_activations, class_index).sum()
        gradients = torch.autograd.grad(score, leaves, retain_graph=True, materialize_grads=True)
        yield [factor * gradient for factor, gradient in zip(factors, gradients, strict=True)]


class BiasedOutputs(TorchFunctionMode):
    """Records the biases and outputs of layers with a bias that this thread calls inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Tensor, Tensor]] = []
        """Bias (K, 1, 1) and output (N, K, H, W) of each call, in order."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls the function, and records its output where it has a bias."""
        keywords = kwargs or {}
        output = func(*args, **keywords)
        bias = _BIASES[func](*args, **keywords) if func in _BIASES else None
        if bias is None:
            return output
        self.calls.append((bias.view(-1, 1, 1), output))
        # In-place ReLUs may write into their input, but not into the recorded output.
        return output.clone()


def _convolution_bias(
    _input: Tensor, _weight: Tensor, bias: Tensor | None = None, *_: Any, **__: Any
) -> Tensor | None:
    return bias


def _normalization_bias(
    _input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *_: Any,
    eps: float = 1e-5,
    **__: Any,
) -> Tensor | None:
    """What is added to a multiple of the input: b - w mean / sqrt(var + eps)."""
    if running_mean is None or running_var is None:
        return bias
    slope = torch.rsqrt(running_var + eps)
    shift = -running_mean * (slope if weight is None else slope * weight)
    return shift if bias is None else shift + bias


_BIASES: dict[Callable[..., Any], Callable[..., Tensor | None]] = {
    F.conv2d: _convolution_bias,
    F.batch_norm: _normalization_bias,
}


def _stretch(term: Tensor, size: Sequence[int]) -> Tensor:
    """sum_k psi of a term's channels (N, h, w); linear, so the sum is stretched once."""
    summed = min_max_scaled(term.abs()).sum(1, keepdim=True)
    return F.interpolate(summed, list(size), mode="bilinear", align_corners=False).squeeze(1)


def guided_backpropagation(
    layer_pass: LayerPass, target: Target, _: Parameters, classes: Sequence[int]
) -> Tensor:
    """Maps (N, c, h, w), summed over color channels.

    The same numbers as captum's GuidedBackprop on a network whose ReLUs are modules. Raises
    InvalidValue for a network without ReLUs.
    """
    network = layer_pass.network
    maps = []
    for images in torch.split(layer_pass.images, rows_per_pass(network, layer_pass.images[:1])):
        with torch.enable_grad(), GuidedReLUs() as relus:
            pixels = images.detach().requires_grad_()
            pre_activations = network(pixels)
        if not relus.count:
            raise InvalidValue("method", "guided-backpropagation needs ReLUs: the network has none")
        class_maps = []
        for class_index in classes:
            with torch.enable_grad():
                score = linearized_score(network, target, pre_activations, class_index).sum()
            (gradient,) = torch.autograd.grad(score, pixels, retain_graph=True)
            class_maps.append(gradient.sum(1))
        maps.append(torch.stack(class_maps, dim=1))
    return torch.cat(maps)


GUIDED_BACKPROPAGATION = Method(
    name="guided-backpropagation",
    title="Guided backpropagation",
    description="The gradient by the pixels, of which ReLUs pass only the positive parts back. "
    "Shows the image's edges more than the class.",
    formula="dx_c / dX, each ReLU of input f passing back [f > 0] ReLU(R)",
    source="Springenberg et al., Striving for Simplicity (arXiv:1412.6806)",
    year=2014,
    cost=Cost.GRADIENT,
    compute=guided_backpropagation,
    targets=("unit",),
    attribution_level=AttributionLevel.INPUT,
)


class GuidedReLUs(TorchFunctionMode):
    """Replaces ReLUs that this thread calls inside it by ReLUs with guided gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        """Number of calls replaced."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls the function, or the guided ReLU."""
        if func in _RELUS:
            self.count += 1
            signal = args[0] if args else (kwargs or {})["input"]
            return _GuidedReLU.apply(signal)
        return func(*args, **(kwargs or {}))


_RELUS = frozenset({F.relu, torch.relu, Tensor.relu})


class _GuidedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, signal: Tensor) -> Tensor:
        rectified = signal.clamp(min=0)
        ctx.save_for_backward(rectified)
        return rectified

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Tensor:
        (rectified,) = ctx.saved_tensors
        guided: Tensor = gradients[0].clamp(min=0) * (rectified > 0)
        return guided


BACKPROPAGATION_METHODS = (FULL_GRAD, GUIDED_BACKPROPAGATION)
