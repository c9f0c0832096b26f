"""Programs have the activations and gradients of plain autograd on the module itself."""

from contextlib import contextmanager

import pytest
import torch
from camreel.program import find_layers
from torch import nn

from tests.program.networks import EXAMPLES, example_images, example_module, program_network

TOLERANCE = 1e-5  # of the peak

CASES = [(name, layer) for name, example in EXAMPLES.items() for layer in example.layers]


@contextmanager
def captured_output(module: nn.Module):
    """The module's output, cloned on both sides, so that in-place calls do not change it."""
    outputs = []

    def capture(_module, _inputs, output):
        activations = output.clone().requires_grad_()
        outputs.append(activations)
        return activations.clone()

    handle = module.register_forward_hook(capture)
    yield outputs
    handle.remove()


def assert_equal_to_peak(actual, expected):
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= TOLERANCE * expected.abs().max()


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("count", [1, 5])
def test_program_has_the_logits_of_the_module(name, count):
    images = example_images(name, count)
    with torch.no_grad():
        assert_equal_to_peak(program_network(name)(images), example_module(name)(images))


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize(("name", "layer_name"), CASES)
def test_split_has_the_gradients_of_autograd(name, layer_name, count):
    module, network = example_module(name), program_network(name)
    images = example_images(name, count)
    weights = torch.randn(count, 10, generator=torch.Generator().manual_seed(1))

    with captured_output(module.get_submodule(layer_name)) as outputs:
        logits = module(images)
    (expected_activations,) = outputs
    (expected,) = torch.autograd.grad((logits * weights).sum(), expected_activations)

    layer = next(
        layer
        for layer in find_layers(network.program)
        if layer_name in (layer.name, *layer.aliases)
    )
    split = network.split(layer.value)
    with torch.no_grad():
        activations, live = split.below(images)
    activations.requires_grad_()
    pre_activations = split.head(activations, live)
    (gradients,) = torch.autograd.grad((pre_activations * weights).sum(), activations)

    assert_equal_to_peak(activations.detach(), expected_activations.detach())
    assert_equal_to_peak(pre_activations.detach(), logits.detach())
    assert_equal_to_peak(gradients, expected)
