"""Guided backpropagation: gradients that only what raises the class may carry."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor
from torch.overrides import TorchFunctionMode

from service.core.cams.cut import Cut
from service.core.cams.passes import mixed, rows_at_once
from service.core.cams.targets import Target
from service.core.parameters import Parameters


def guided_backpropagation(
    cut: Cut, target: Target, _: Parameters, classes: Sequence[int]
) -> Tensor:
    """The gradient by the pixels, summed over colours (N, c, h, w), ReLUs guiding it.

    Springenberg et al. 2014 (arXiv:1412.6806): on its way back through a ReLU of input
    f a gradient R becomes [f > 0] ReLU(R). The same numbers as captum's GuidedBackprop on a network
    whose ReLUs are modules; this needs no modules and hangs no hooks.
    """
    maps = []
    for images in torch.split(cut.images, rows_at_once(cut.network, cut.images[:1])):
        with torch.enable_grad(), GuidedReLUs():
            pixels = images.detach().requires_grad_()
            units = cut.network(pixels)
        found = []
        for class_index in classes:
            with torch.enable_grad():
                score = mixed(cut.network, target, units, class_index).sum()
            (gradient,) = torch.autograd.grad(score, pixels, retain_graph=True)
            found.append(gradient.sum(1))
        maps.append(torch.stack(found, dim=1))
    return torch.cat(maps)


class GuidedReLUs(TorchFunctionMode):
    """While entered, ReLUs that this thread calls guide the gradients that will pass them.

    A mode belongs to a thread, so that others may share the network, and finds ReLUs that are
    functions as well as modules.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls the function, or its guiding twin."""
        if func in _RELUS:
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
