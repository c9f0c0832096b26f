"""Networks of torchvision, small and with random weights, exported once per test process."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from camreel.program import (
    Export,
    Layer,
    Program,
    ProgramNetwork,
    Split,
    export_program,
    find_layers,
)
from torch import Tensor, nn
from torchvision.models import (
    ConvNeXt,
    DenseNet,
    SwinTransformer,
    VisionTransformer,
    mobilenet_v3_small,
    resnet18,
)
from torchvision.models.convnext import CNBlockConfig


@dataclass(frozen=True)
class Example:
    """A network and three of its layers."""

    build: Callable[[], nn.Module]
    layers: tuple[str, str, str]
    side: int = 64


EXAMPLES = {
    "resnet18": Example(
        partial(resnet18, num_classes=10), ("layer2.0.bn2", "layer3.1.bn1", "layer4")
    ),
    "mobilenet_v3_small": Example(
        partial(mobilenet_v3_small, num_classes=10),
        ("features.1", "features.4.block.2", "features.12"),
    ),
    "densenet": Example(
        partial(DenseNet, 8, (2, 3, 2), 16, num_classes=10),
        ("features.denseblock1", "features.denseblock2.denselayer2.conv1", "features"),
    ),
    "vit": Example(
        partial(VisionTransformer, 32, 8, 2, 4, 64, 128, num_classes=10),
        (
            "conv_proj",
            "encoder.layers.encoder_layer_0",
            "encoder.layers.encoder_layer_1.ln_1",
        ),
        side=32,
    ),
    "convnext": Example(
        partial(
            ConvNeXt,
            [CNBlockConfig(16, 32, 2), CNBlockConfig(32, None, 2)],
            layer_scale=0.5,
            num_classes=10,
        ),
        ("features.1.0.block.2", "features.1", "features.3.1"),
    ),
    "swin": Example(
        partial(SwinTransformer, [4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=10),
        ("features.1.1.norm1", "features.2", "permute"),
        side=48,
    ),
}


@cache
def example_module(name: str) -> nn.Module:
    """The network in evaluation mode, its statistics and its head far from their initial values."""
    example = EXAMPLES[name]
    torch.manual_seed(0)
    module = example.build()
    for parameter in module.parameters():
        if parameter.ndim == 1 or not parameter.any():
            nn.init.normal_(parameter, 0.5, 0.3)
    with torch.no_grad():
        module(example_images(name, 8))
    return module.eval()


def example_images(name: str, count: int) -> Tensor:
    side = EXAMPLES[name].side
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(count))


@cache
def exported(name: str) -> Export:
    return export_program(example_module(name), example_images(name, 1))


@cache
def program_network(name: str) -> ProgramNetwork:
    export = exported(name)
    return ProgramNetwork(export.program, export.tensors(example_module(name)))


def layers_by_name(program: Program) -> dict[str, Layer]:
    return {name: layer for layer in find_layers(program) for name in (layer.name, *layer.aliases)}


def split_at(network: ProgramNetwork, name: str) -> Split:
    (layer,) = (
        layer for layer in find_layers(network.program) if name in (layer.name, *layer.aliases)
    )
    return network.split(layer.value)
