"""Networks of torchvision as programs: gradients, heads on other batches, layers.

Gradients are compared with those of plain autograd on the module itself.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import torch
from camreel.program import Layout, find_layers
from torch import nn

from tests.program.networks import (
    EXAMPLES,
    example_images,
    example_module,
    exported,
    layers_by_name,
    program_network,
    split_at,
)

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
    assert expected.any()
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


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("resnet18", "layer4"),
        ("mobilenet_v3_small", "features"),
        ("densenet", "features"),
        ("convnext", "features"),
        # Later ones have no gradient on the patches: only the class token is read.
        ("vit", "encoder.layers.encoder_layer_1.ln_1"),
        ("swin", "permute"),
    ],
)
def test_default_layer_is_what_people_use(name, layer):
    assert exported(name).program.default_layer == layer


@pytest.mark.parametrize(
    ("name", "layer_name", "layout", "grid", "prefix_tokens"),
    [
        ("resnet18", "layer2", Layout.CHANNELS_FIRST, (128, 8, 8), 0),
        ("convnext", "features.1.0.block.2", Layout.CHANNELS_LAST, (16, 16, 16), 0),
        ("convnext", "features.1", Layout.CHANNELS_FIRST, (16, 16, 16), 0),
        ("swin", "features.1", Layout.CHANNELS_LAST, (24, 12, 12), 0),
        ("swin", "features.2", Layout.CHANNELS_LAST, (48, 6, 6), 0),
        ("swin", "permute", Layout.CHANNELS_FIRST, (48, 6, 6), 0),
        ("vit", "conv_proj", Layout.CHANNELS_FIRST, (64, 4, 4), 0),
        ("vit", "encoder.layers.encoder_layer_0.mlp.0", Layout.TOKENS, (128, 4, 4), 1),
        ("vit", "encoder", Layout.TOKENS, (64, 4, 4), 1),
    ],
)
def test_grid_of_a_layer(name, layer_name, layout, grid, prefix_tokens):
    layer = layers_by_name(exported(name).program)[layer_name]
    assert layer.grid.layout is layout
    assert layer.grid.shape == grid
    assert layer.grid.prefix_tokens == prefix_tokens


def test_token_of_a_patch_becomes_its_position():
    grid = layers_by_name(exported("vit").program)["encoder"].grid
    activations = torch.zeros(2, 17, 64)
    activations[1, 1 + 4 * 2 + 3, 5] = 1  # image 1, row 2, column 3, channel 5
    assert grid.maps_of(activations).nonzero().tolist() == [[1, 5, 2, 3]]


@pytest.mark.parametrize(
    ("name", "layer_name"), [("vit", "encoder"), ("swin", "features.1"), ("resnet18", "layer2")]
)
def test_maps_become_the_activations_that_they_are_of(name, layer_name):
    layer = layers_by_name(exported(name).program)[layer_name]
    shape = (2, *(size for size in layer.shape[1:]))
    activations = torch.randn(shape)
    maps = layer.grid.maps_of(activations)
    assert maps.shape == (2, *layer.grid.shape)
    assert torch.equal(layer.grid.activations_of(maps, prefix=activations), activations)


def test_patches_are_evenly_spaced():
    grid = layers_by_name(exported("vit").program)["encoder"].grid
    assert [(axis.first_center, axis.step) for axis in grid.placement] == [(3.5, 8.0)] * 2


@pytest.mark.parametrize(("name", "layer"), CASES)
@torch.no_grad()
def test_head_on_repeated_images_equals_the_network_on_them(name, layer):
    """Perturbation evaluates several variants of each image's activations at once."""
    network = program_network(name)
    images = example_images(name, 3)
    split = split_at(network, layer)
    activations, live = split.below(images)
    repeated = split.head(activations.repeat_interleave(2, 0), live.repeat(2))
    torch.testing.assert_close(repeated, network(images).repeat_interleave(2, 0))
    rows = torch.tensor([2, 0, 0, 1])
    selected = split.head(activations[rows], live.select(rows))
    torch.testing.assert_close(selected, network(images)[rows])


def test_results_without_gradients_equal_those_with_them():
    """Without a graph, activations are written into their operands."""
    for name in EXAMPLES:
        network = program_network(name)
        images = example_images(name, 2)
        expected = network(images).detach()
        pixels = images.clone()
        with torch.no_grad():
            assert torch.equal(network(pixels), expected)
        assert torch.equal(pixels, images)


@pytest.mark.parametrize(("name", "layer"), CASES)
@torch.no_grad()
def test_head_changes_neither_activations_nor_live_values(name, layer):
    network = program_network(name)
    split = split_at(network, layer)
    activations, live = split.below(example_images(name, 2))
    copies = [activations.clone(), *(tensor.clone() for tensor in live.parts[0].values())]
    split.head(activations, live)
    for tensor, copy in zip([activations, *live.parts[0].values()], copies, strict=True):
        assert torch.equal(tensor, copy)


def test_threads_share_a_network():
    network = program_network("densenet")
    batches = [example_images("densenet", count) for count in (1, 2, 3, 4)]
    expected = [example_module("densenet")(images).detach() for images in batches]

    def run(index):
        split = split_at(network, "features.denseblock1")
        with torch.no_grad():
            return split.head(*split.below(batches[index]))

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, [0, 1, 2, 3] * 3))
    for index, result in enumerate(results):
        torch.testing.assert_close(result, expected[index % 4])
