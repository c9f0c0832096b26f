"""Mathematical properties of the methods, on random networks and images."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from service.core.cams.layer_pass import run_to_layer
from service.core.cams.maps import class_maps
from service.core.cams.method import AttributionLevel, Cost
from service.core.cams.methods import METHODS, MethodSpec
from service.core.models.stages import Convolution, StagedNetwork
from service.errors import InvalidValue
from tests.core.networks import CLASSES, close, residual, unchanged, vgg

LAYER_METHODS = [
    name
    for name, method in METHODS.items()
    if method.attribution_level is AttributionLevel.LAYER
    and method.cost is not Cost.PERTURBATIONS
    and name != "cam"
]
seeds = st.integers(0, 2**31)


def piecewise_linear(seed: int) -> StagedNetwork:
    """A network of convolutions, max pooling and ReLU units."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = StagedNetwork(
            {
                "conv1": Convolution(1, 3, 3),
                "conv2": Convolution(3, 4, 3),
                "pool": nn.MaxPool2d(2),
                "flatten": nn.Flatten(),
                "hidden": nn.Linear(4 * 4 * 4, 6),
                "activation": nn.ReLU(),
                "output": nn.Linear(6, 3),
            }
        )
    return network.double().eval()


def images(seed: int, size: int = 12) -> Tensor:
    pixels = torch.rand((2, 1, size, size), generator=torch.Generator().manual_seed(seed))
    return pixels.double()


def maps_of(network: StagedNetwork, pixels: Tensor, layer: str, text: str) -> Tensor:
    with torch.no_grad():
        layer_pass = run_to_layer(network, pixels, layer)
        return MethodSpec.parse(text).compute(
            layer_pass, range(layer_pass.pre_activations.shape[1])
        )


@settings(deadline=None, max_examples=25)
@given(seed=seeds, layer=st.sampled_from(["conv1", "conv2", "pool"]))
def test_hires_cam_sums_to_the_unit_without_biases(seed, layer):
    # On a linear piece x(A) = G A + b, so the map sums to G A, the slope along A.
    network, pixels = piecewise_linear(seed), images(seed)
    layer_pass = run_to_layer(network, pixels, layer)
    with torch.no_grad():
        total = maps_of(network, pixels, layer, "hires-cam").sum((-2, -1))
        step = 1e-6
        scaled_units = layer_pass.with_activations(
            layer_pass.activations * (1 + step)
        ).pre_activations
        slope = (scaled_units - layer_pass.pre_activations) / step
    assert torch.allclose(total, slope, atol=1e-6, rtol=1e-4)


@settings(deadline=None, max_examples=25)
@given(seed=seeds, target=st.sampled_from(["unit", "centered", "margin", "softmax", "log-softmax"]))
def test_integrated_gradients_sum_to_the_score_difference_from_zero_activations(seed, target):
    network, pixels = piecewise_linear(seed), images(seed)
    network.hidden = nn.Linear(64, 6).double()
    network.activation = nn.Tanh()  # smooth, so that the rule converges
    text = f"layer-integrated-gradients/{target}?steps=128"
    method_spec = MethodSpec.parse(text)
    layer_pass = run_to_layer(network, pixels, "conv2")
    with torch.no_grad():
        total = maps_of(network, pixels, "conv2", text).sum((-2, -1))
        gain = method_spec.target.scores(layer_pass.outputs) - method_spec.target.scores(
            layer_pass.with_activations(torch.zeros_like(layer_pass.activations)).outputs
        )
    if target != "margin":  # whose strongest other class may change along the path
        assert torch.allclose(total, gain, atol=1e-3)
    else:
        assert torch.isfinite(total).all()


@pytest.mark.parametrize("build", [residual, vgg])
def test_integrated_gradients_of_the_head_equal_captum(build):
    network = build().double()
    layer = network.convolutions[-1] if build is vgg else "block1"
    pixels = images(3, 28)
    layer_pass = run_to_layer(network, pixels, layer)
    theirs = IntegratedGradients(nn.Sequential(*layer_pass.head.stages))
    result = maps_of(network, pixels, layer, "layer-integrated-gradients/unit?steps=8")
    for label in range(CLASSES):
        expected = theirs.attribute(
            layer_pass.activations, target=label, n_steps=8, method="riemann_middle"
        ).sum(1)
        assert close(result[:, label], expected.detach(), 1e-6)


@settings(deadline=None, max_examples=20)
@given(seed=seeds, factor=st.floats(0.1, 50))
@pytest.mark.parametrize(
    "text", ["grad-cam", "hires-cam", "layer-cam", "x-grad-cam", "element-wise-grad-cam"]
)
def test_scaling_the_score_scales_the_map(text, seed, factor):
    network, pixels = piecewise_linear(seed), images(seed)
    initial_maps = maps_of(network, pixels, "conv2", text)
    with torch.no_grad():
        network.output.weight.mul_(factor)
        network.output.bias.mul_(factor)
    assert torch.allclose(maps_of(network, pixels, "conv2", text), initial_maps * factor)


@settings(deadline=None, max_examples=20)
@given(seed=seeds, shift=st.floats(-20, 20))
@pytest.mark.parametrize("target", ["softmax", "log-softmax", "centered", "margin", "contrast:0"])
def test_evidence_for_all_classes_does_not_change_relative_targets(target, seed, shift):
    network, pixels = piecewise_linear(seed), images(seed)
    initial_maps = maps_of(network, pixels, "conv2", f"hires-cam/{target}")
    with torch.no_grad():  # adds the same evidence to every class's unit
        network.output.weight.add_(shift * network.output.weight.new_ones(1, 6))
    final_maps = maps_of(network, pixels, "conv2", f"hires-cam/{target}")
    assert torch.allclose(final_maps, initial_maps, atol=1e-8 * (1 + abs(shift)))


@settings(deadline=None, max_examples=15)
@given(seed=seeds)
def test_methods_that_sum_positive_parts_have_no_negative_values(seed):
    network, pixels = piecewise_linear(seed), images(seed)
    for text in ("layer-cam", "element-wise-grad-cam", "grad-cam++", "fem"):
        assert (maps_of(network, pixels, "conv2", text) >= 0).all()


@pytest.mark.parametrize("name", LAYER_METHODS)
@pytest.mark.parametrize("kind", ["table1", "residual", "vgg"])
def test_maps_are_equal_for_any_batch_class_selection_and_thread(untrained, name, kind):
    network, layer = {
        "table1": lambda: (untrained(seed=4), "conv1"),
        "residual": lambda: (residual(), "block1"),
        "vgg": lambda: (vgg(), "conv3"),
    }[kind]()
    pixels = images(5, 28).float()
    with unchanged(network):
        batch_maps = class_maps(network, pixels, layer, [name]).signed[name]
        peaks = np.abs(batch_maps).max((-2, -1), keepdims=True)
        barrier = Barrier(8)

        def compute_one_map(job: int) -> np.ndarray:
            barrier.wait()
            image, label = job % 2, job % 4
            alone = class_maps(network, pixels[image : image + 1], layer, [name], [label])
            return alone.signed[name][0, 0]

        with ThreadPoolExecutor(8) as threads:
            alone = list(threads.map(compute_one_map, range(8)))
    for job, result in enumerate(alone):
        image, label = job % 2, job % 4
        # Sums of float32 in another order differ in their last digits.
        assert np.abs(result - batch_maps[image, label]).max() <= 2e-4 * peaks[image, label]


def test_several_layers_are_averaged_with_equal_weights(untrained):
    network, pixels = untrained(seed=4), images(5, 28).float()
    fused = class_maps(network, pixels, "conv1,conv2", ["grad-cam"]).signed["grad-cam"]
    parts = [
        class_maps(network, pixels, n, ["grad-cam"]).signed["grad-cam"] for n in ("conv1", "conv2")
    ]
    scaled = [part / np.abs(part).max((-2, -1), keepdims=True) for part in parts]
    # conv1 has 26 positions from pixel 1, conv2 24 from pixel 2: one more on each side.
    inner = (scaled[0][..., 1:-1, 1:-1] + scaled[1]) / 2
    assert np.allclose(fused[..., 1:-1, 1:-1], inner, atol=1e-6)


def test_refine_cam_is_the_product_of_all_layers(untrained):
    network, pixels = untrained(seed=4), images(5, 28).float()
    refined = class_maps(network, pixels, "conv1,conv2", ["refine-cam"]).signed["refine-cam"]
    parts = [
        class_maps(network, pixels, n, ["grad-cam++"]).signed["grad-cam++"]
        for n in ("conv1", "conv2")
    ]
    low, high = (f(parts[0], axis=(-2, -1), keepdims=True) for f in (np.min, np.max))
    first = (parts[0] - low) / (high - low)
    second = np.pad(parts[1], ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    low, high = (f(second, axis=(-2, -1), keepdims=True) for f in (np.min, np.max))
    assert np.allclose(refined, first * (second - low) / (high - low), atol=1e-5)


@pytest.mark.parametrize("layer", ["conv2", "conv1,conv1", "input", "conv1,conv9"])
def test_layers_that_a_method_does_not_support_are_refused(untrained, layer):
    method = "refine-cam" if layer != "input" else "grad-cam"
    with pytest.raises(InvalidValue) as refusal:
        class_maps(untrained(), images(5, 28).float(), layer, [method])
    assert refusal.value.field == "layer"
