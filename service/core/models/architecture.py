"""Base of the architectures: how a network is built, and which of its weights are trained."""

from pathlib import Path

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from service.core.parameters import Parameters


class ArchitectureParameters(Parameters):
    """Base of the architectures' parameters. A network maps images (N, D, H, W) to x (N, C)."""

    name: str

    def unfit_reason(self, image_shape: tuple[int, int, int]) -> str | None:  # noqa: ARG002
        """Why the network cannot process images (D, H, W), as in "needs square images"; else None.

        Continues the name of the architecture.
        """
        return None

    def require_fit(self, image_shape: tuple[int, int, int]) -> None:
        """Raises ValueError for images that the network cannot process."""
        if reason := self.unfit_reason(image_shape):
            raise ValueError(f"architecture: {self.name} {reason}")

    def build(self, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
        """The network for images (D, H, W), with its initialization from torch's generator.

        Raises ValueError for images that it cannot process.
        """
        raise NotImplementedError

    def initialize(
        self, network: nn.Module, image_shape: tuple[int, int, int], weights_folder: Path | None
    ) -> None:
        """Load the weights that training starts from, if the parameters name any.

        `weights_folder` contains the files of weights; None if there is none. Raises
        WeightsUnavailable.
        """

    def freeze(self, network: nn.Module) -> None:
        """Turn off the gradients of the parameters that are not trained. Raises ValueError."""


class _ParametersWithoutMemory(TorchFunctionMode):
    """Creates what `torch.empty` creates, which parameters come from, on the meta device.

    With the meta device as the default, networks that compute with tensors while they are built,
    as RegNet does, could not be built.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        options = dict(kwargs or {})
        if func is torch.empty:
            options["device"] = "meta"
        return func(*args, **options)


def minimum_side_reason(image_shape: tuple[int, int, int], side: int) -> str | None:
    """The reason of `unfit_reason` for images with a side of less than `side` pixels."""
    if min(image_shape[1:]) >= side:
        return None
    return f"needs images of at least {side} x {side} pixels"


def build_structure(
    architecture: ArchitectureParameters, image_shape: tuple[int, int, int], classes: int
) -> nn.Module:
    """The network without memory for its parameters, which are to be assigned."""
    with _ParametersWithoutMemory():
        return architecture.build(image_shape, classes)


def trainable_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that training changes."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def set_training_mode(network: nn.Module) -> None:
    """Training mode, except for modules whose parameters are all frozen: evaluation mode.

    The running means of frozen batch normalizations stay, and frozen parts drop nothing out.
    """
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def accepts_single_image(network: nn.Module, image_shape: tuple[int, int, int]) -> bool:
    """Whether the network can be trained on a batch of one image (D, H, W).

    Batch normalization cannot where a channel has one position. The network and torch's generator
    stay as they are, except for the network's training mode.
    """
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    set_training_mode(network)
    with torch.no_grad(), torch.random.fork_rng([]):
        try:
            torch.func.functional_call(network, buffers, (torch.zeros(1, *image_shape),))
        except ValueError:
            return False
    return True
