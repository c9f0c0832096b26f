"""Layers: which values have positions, where they lie on the image, which is the default."""

from functools import cache

import pytest
import torch
from camreel.program import ProgramNetwork, export_program, find_layers
from torch import nn
from torchvision.models import squeezenet1_1

from tests.program.networks import layers_by_name


@cache
def squeezenet():
    torch.manual_seed(0)
    return export_program(squeezenet1_1(num_classes=10), torch.randn(1, 3, 64, 64)).program


# The default layer


def test_layer_of_class_scores_is_not_the_default():
    """SqueezeNet ends with a convolution to the classes, of which Grad-CAM shows one channel."""
    program = squeezenet()
    assert "classifier.2" in layers_by_name(program)
    assert program.default_layer == "features"


def test_pooled_copy_of_a_layer_is_not_the_default():
    module = nn.Sequential()
    module.add_module("features", nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()))
    module.add_module("avgpool", nn.AdaptiveAvgPool2d(3))
    module.add_module("classifier", nn.Sequential(nn.Flatten(), nn.Linear(72, 4)))
    program = export_program(module, torch.randn(1, 3, 8, 8)).program
    assert "avgpool" in layers_by_name(program)
    assert program.default_layer == "features"


def test_network_without_positions_has_no_layers():
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 3))
    program = export_program(module, torch.randn(1, 3, 8, 8)).program
    assert find_layers(program) == ()
    assert program.default_layer is None


# Grids


def test_queries_keys_and_scores_are_no_layers():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 16, 4, 4)
            self.qkv = nn.Linear(16, 48)
            self.norm = nn.LayerNorm(8)
            self.drop = nn.Dropout()
            self.head = nn.Linear(16, 4)

        def forward(self, images):
            tokens = self.patches(images).flatten(2).transpose(1, 2)
            q, k, v = self.qkv(tokens).reshape(-1, 16, 3, 2, 8).permute(2, 0, 3, 1, 4)
            scores = self.drop((self.norm(q) @ k.transpose(2, 3)).softmax(-1))
            return self.head((scores @ v).transpose(1, 2).flatten(2).mean(1))

    program = export_program(Attention(), torch.randn(1, 3, 16, 16)).program
    assert [layer.name for layer in find_layers(program)] == ["patches", "qkv"]


# Placement


def receptive_centers(network, layer, axis):
    """Centers of receptive fields by position, measured by gradients of single positions.

    At the border, padding cuts fields off: those positions are left out.
    """
    split = network.split(layer.value)
    images = torch.randn(1, *network.program.input_shape).requires_grad_()
    activations, _ = split.below(images)
    maps = layer.grid.maps_of(activations)
    centers = {}
    for position in range(3, maps.shape[axis] - 3):
        inner = maps.select(axis, position).sum()
        (gradient,) = torch.autograd.grad(inner, images, retain_graph=True)
        pixels = gradient.abs().sum([d for d in range(4) if d != axis]).nonzero()
        centers[position] = (int(pixels.min()) + int(pixels.max())) / 2
    return centers


def test_positions_lie_at_the_centers_of_their_receptive_fields():
    """Strides, kernels and padding differ by axis; images are not square."""
    torch.manual_seed(0)
    module = nn.Sequential()
    module.add_module("conv1", nn.Conv2d(3, 4, (3, 5), stride=(1, 2), padding=(0, 1)))
    module.add_module("act1", nn.Softplus())
    module.add_module("conv2", nn.Conv2d(4, 4, (2, 3), stride=(2, 1), dilation=(3, 1)))
    module.add_module("pad", nn.ZeroPad2d((1, 0, 2, 1)))
    module.add_module("pool1", nn.AvgPool2d((2, 3), stride=(1, 2)))
    module.add_module("pool", nn.AdaptiveAvgPool2d(1))
    module.add_module("head", nn.Sequential(nn.Flatten(), nn.Linear(4, 3)))
    export = export_program(module, torch.randn(1, 3, 30, 46))
    network = ProgramNetwork(export.program, export.tensors(module))
    for name in ("conv1", "act1", "conv2", "pool1"):
        layer = layers_by_name(export.program)[name]
        for axis, placement in zip((2, 3), layer.grid.placement, strict=True):
            centers = receptive_centers(network, layer, axis)
            assert len(centers) >= 2
            for position, center in centers.items():
                expected = placement.first_center + placement.step * position
                assert center == pytest.approx(expected), (name, axis)


def test_branches_of_different_centers_have_no_placement():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.left = nn.Conv2d(3, 4, 3, stride=2)
            self.right = nn.Conv2d(3, 4, 3, stride=2)
            self.sum = nn.Identity()
            self.relu = nn.ReLU()
            self.head = nn.Linear(4, 3)

        def forward(self, images):
            shifted = nn.functional.pad(images, (1, -1, 1, -1))
            total = self.left(images) + self.right(shifted)
            return self.head(self.relu(total).mean((2, 3)))

    layers = layers_by_name(export_program(Branches(), torch.randn(1, 3, 9, 9)).program)
    assert layers["left"].grid.placement[0].first_center == 1
    assert layers["right"].grid.placement[0].first_center == 0
    assert layers["relu"].grid.placement is None
