"""Base of the architectures: how a network is built, and which of its weights are trained."""

from pathlib import Path

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from service.core.parameters import Parameters


class ArchitectureParameters(Parameters):
    """Base of the architectures' parameters. A network maps images (N, D, H, W) to x (N, C)."""

    name: str

    def build(self, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
        """The network for images (D, H, W), with its initialization from torch's generator.

        Raises ValueError for images that it is not made for.
        """
        raise NotImplementedError

    def initialize(
        self, network: nn.Module, image_shape: tuple[int, int, int], weights_folder: Path | None
    ) -> None:
        """Load the weights that training starts from, if the parameters name any.

        `weights_folder` contains the files of weights; None if there is none. Raises
        WeightsUnavailable, and ValueError for images that the network is not made for.
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
