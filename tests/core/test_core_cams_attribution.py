"""Attributions to pixels: equal to captum's, with random numbers from the request's seed."""

import copy
import runpy
import sys
import warnings

import pytest
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import (
    GuidedBackprop,
    IntegratedGradients,
    Lime,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from networks import close, plain, residual, unchanged, vgg
from pydantic import ValidationError
from torch import nn

from service.core.cams import attribution, passes
from service.core.cams.attribution import (
    NoisyPixels,
    Patches,
    Path,
    Window,
    integrated_gradients,
    lime,
    occlusion,
    smooth_grad,
    square_patches,
)
from service.core.cams.backpropagation import guided_backpropagation
from service.core.cams.layer_pass import run_to_layer
from service.core.cams.method import NoParameters
from service.core.cams.passes import image_generator
from service.core.cams.targets import TARGETS
from service.core.models import StagedNetwork
from service.core.models.stages import INPUT, Convolution

UNIT, SOFTMAX = TARGETS["unit"], TARGETS["softmax"]
SEEDED = [(smooth_grad, NoisyPixels), (lime, Patches)]
ALL = [
    (guided_backpropagation, NoParameters()),
    (integrated_gradients, Path(steps=5)),
    (occlusion, Window()),
    (smooth_grad, NoisyPixels(samples=4)),
    (lime, Patches(samples=60)),
]


@pytest.fixture(params=["table1", "residual", "vgg"])
def network(request, learned):
    """A network in float64."""
    shapes = {"table1": lambda: learned("identity"), "residual": residual, "vgg": vgg}
    return copy.deepcopy(shapes[request.param]()).double()


def score_of(network: StagedNetwork, target: str):
    return network if target == "unit" else lambda images: network(images).softmax(1)


# --- compared with captum, class by class


def test_guided_backpropagation_equals_captum(network, images):
    layer_pass = run_to_layer(network, images.double(), INPUT)
    maps = guided_backpropagation(layer_pass, UNIT, NoParameters(), [0, 3])
    with warnings.catch_warnings(action="ignore"):
        extractor = GuidedBackprop(plain(network))
        for i, label in enumerate([0, 3]):
            theirs = extractor.attribute(images.double(), target=label).sum(1)
            assert close(maps[:, i], theirs)
    # Without guided ReLUs the map would be the gradient.
    pixels = images.double().requires_grad_()
    gradient = torch.autograd.grad(network(pixels)[:, 0].sum(), pixels)[0].sum(1)
    assert not close(maps[:, 0], gradient, 0.1)


@pytest.mark.parametrize("target", ["unit", "softmax"])
def test_integrated_gradients_equal_captum(network, images, target):
    layer_pass = run_to_layer(network, images.double(), INPUT)
    maps = integrated_gradients(layer_pass, TARGETS[target], Path(steps=6), [0, 3])
    theirs = IntegratedGradients(score_of(network, target))
    for i, label in enumerate([0, 3]):
        expected = theirs.attribute(images.double(), target=label, n_steps=6).sum(1)
        assert close(maps[:, i], expected)


@pytest.mark.parametrize("target", ["unit", "softmax"])
def test_occlusion_equals_captum(network, images, target):
    layer_pass = run_to_layer(network, images.double(), INPUT)
    maps = occlusion(layer_pass, TARGETS[target], Window(window=6, stride=3), [0, 3])
    theirs = Occlusion(score_of(network, target))
    for i, label in enumerate([0, 3]):
        with torch.no_grad():
            expected = theirs.attribute(
                images.double(), (1, 6, 6), (1, 3, 3), target=label, perturbations_per_eval=81
            )
        assert close(maps[:, i], expected[:, 0])


@pytest.mark.parametrize("target", ["unit", "softmax"])
def test_smooth_grad_equals_captum_noise_tunnel_with_the_same_seed(network, images, target):
    layer_pass = run_to_layer(network, images.double(), INPUT)
    maps = smooth_grad(
        layer_pass, TARGETS[target], NoisyPixels(samples=4, noise=0.2, seed=5), [0, 3]
    )
    theirs = NoiseTunnel(Saliency(score_of(network, target)))
    for n, image in enumerate(images.double()):
        for i, label in enumerate([0, 3]):
            with torch.random.fork_rng([]):
                torch.manual_seed(image_generator(5, image).initial_seed())
                expected = theirs.attribute(
                    image[None].requires_grad_(),
                    nt_samples=4,
                    stdevs=0.2,
                    target=label,
                    abs=False,
                )
            assert close(maps[n, i], expected[0].sum(0))


@pytest.mark.parametrize("target", ["unit", "softmax"])
def test_lime_equals_captum_with_ridge_regression_and_the_same_seed(network, images, target):
    image = images[:1].double()
    maps = lime(
        run_to_layer(network, image, INPUT), TARGETS[target], Patches(samples=70, seed=5), [0, 3]
    )
    for i, label in enumerate([0, 3]):
        ridge = SkLearnRidge(alpha=1.0, solver="cholesky")
        with torch.random.fork_rng([]), torch.no_grad():
            torch.manual_seed(image_generator(5, image[0]).initial_seed())
            theirs = Lime(score_of(network, target), ridge).attribute(
                image,
                target=label,
                n_samples=70,
                feature_mask=square_patches(image, 4),
                perturbations_per_eval=70,
            )
        assert close(maps[:, i], theirs[:, 0].double())


# --- computed by hand


def linear(depth: int = 1) -> StagedNetwork:
    """x_c = w_c X of 8 x 8 pixels."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return StagedNetwork({"flatten": nn.Flatten(), "output": nn.Linear(64 * depth, 2)}).eval()


@pytest.fixture
def small():
    return torch.rand((2, 1, 8, 8), generator=torch.Generator().manual_seed(1))


def test_attributions_of_a_linear_network_are_weights_times_pixels(small):
    network = linear()
    layer_pass = run_to_layer(network, small, INPUT)
    weights = network.output.weight.detach().view(1, 2, 8, 8)
    shares = weights * small
    assert close(
        smooth_grad(layer_pass, UNIT, NoisyPixels(), [0, 1]), weights.expand(2, -1, -1, -1)
    )
    assert close(integrated_gradients(layer_pass, UNIT, Path(), [0, 1]), shares)
    assert close(occlusion(layer_pass, UNIT, Window(window=1, stride=1), [0, 1]), shares)
    # A tolerance of a tenth, because ridge regression shrinks the coefficients towards 0.
    patches = nn.functional.avg_pool2d(shares, 4, divisor_override=1).repeat_interleave(4, 2)
    assert close(lime(layer_pass, UNIT, Patches(), [0, 1]), patches.repeat_interleave(4, 3), 0.1)


def test_color_channels_are_summed_and_occluded_together():
    network = linear(depth=3)
    images = torch.rand((2, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    layer_pass = run_to_layer(network, images, INPUT)
    shares = (network.output.weight.detach().view(1, 2, 3, 8, 8) * images.unsqueeze(1)).sum(2)
    assert close(integrated_gradients(layer_pass, UNIT, Path(), [0, 1]), shares)
    assert close(occlusion(layer_pass, UNIT, Window(window=1, stride=1), [0, 1]), shares)
    patches = nn.functional.avg_pool2d(shares, 4, divisor_override=1).repeat_interleave(4, 2)
    assert close(lime(layer_pass, UNIT, Patches(), [0, 1]), patches.repeat_interleave(4, 3), 0.1)


def test_guided_relus_pass_positive_gradients_at_positive_inputs():
    network = StagedNetwork(
        {"conv": Convolution(1, 1, 1), "flatten": nn.Flatten(), "output": nn.Linear(4, 1)}
    ).eval()
    with torch.no_grad():
        network.conv.weight.fill_(2)
        network.conv.bias.fill_(-1)
        network.output.weight.copy_(torch.tensor([[1.0, -1.0, 3.0, 5.0]]))
    images = torch.tensor([[[[0.0, 1.0], [1.5, 2.0]]]])
    maps = guided_backpropagation(run_to_layer(network, images, INPUT), UNIT, NoParameters(), [0])
    # At the first position the ReLU is inactive, at the second the gradient is negative.
    assert maps.flatten().tolist() == [0, 0, 6, 10]


def test_integrated_gradients_sum_to_the_score_difference_from_a_black_image(images):
    network = residual().double()
    layer_pass = run_to_layer(network, images.double(), INPUT)
    maps = integrated_gradients(layer_pass, SOFTMAX, Path(steps=128), range(5))
    score_gain = passes.scores(network, SOFTMAX, layer_pass.images)
    score_gain = score_gain - passes.scores(network, SOFTMAX, torch.zeros_like(layer_pass.images))
    assert torch.allclose(maps.sum((2, 3)), score_gain, rtol=0.02, atol=1e-5)


# --- properties of all methods


@pytest.mark.parametrize(("method", "parameters"), SEEDED)
def test_random_numbers_depend_on_the_seed(images, method, parameters):
    layer_pass = run_to_layer(residual(), images, INPUT)
    maps = [
        method(layer_pass, UNIT, parameters(samples=20, seed=seed), [0, 1]) for seed in (0, 0, 1)
    ]
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])


@pytest.mark.parametrize(("method", "parameters"), ALL)
def test_batch_equals_single_images(images, method, parameters):
    network = vgg()
    batch = method(run_to_layer(network, images, INPUT), UNIT, parameters, range(5))
    for i in range(len(images)):
        single_map = method(
            run_to_layer(network, images[i : i + 1], INPUT), UNIT, parameters, range(5)
        )
        assert close(single_map[0], batch[i], 1e-4)


@pytest.mark.parametrize(("method", "parameters"), ALL)
def test_maps_of_selected_classes_equal_those_of_all_classes(images, method, parameters):
    layer_pass = run_to_layer(residual(), images, INPUT)
    all_maps = method(layer_pass, UNIT, parameters, range(5))
    assert all_maps.shape == (3, 5, 28, 28)
    assert close(method(layer_pass, UNIT, parameters, [3, 0]), all_maps[:, [3, 0]], 1e-5)


@pytest.mark.parametrize(("method", "parameters"), ALL)
def test_chunked_passes_give_the_same_maps(images, monkeypatch, method, parameters):
    layer_pass = run_to_layer(residual().double(), images.double(), INPUT)
    expected = method(layer_pass, UNIT, parameters, range(5))
    for rows in (1, 4, 7):
        monkeypatch.setattr(passes, "rows_per_pass", lambda *_, rows=rows: rows)
        assert close(method(layer_pass, UNIT, parameters, range(5)), expected, 1e-6)


@pytest.mark.parametrize(("method", "parameters"), ALL)
def test_methods_have_no_side_effects(images, monkeypatch, method, parameters):
    network, pixels, state = residual(), images.clone(), torch.get_rng_state()
    monkeypatch.setitem(sys.modules, "sklearn", None)  # as if it were not installed
    with unchanged(network), warnings.catch_warnings(action="error"), torch.no_grad():
        method(run_to_layer(network, pixels, INPUT), UNIT, parameters, [0, 1])
    assert torch.equal(pixels, images)
    assert not pixels.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def test_maps_of_a_black_image_are_finite(images):
    layer_pass = run_to_layer(residual(), torch.zeros_like(images), INPUT)
    for method, parameters in ALL:
        assert method(layer_pass, UNIT, parameters, [0]).isfinite().all()


def test_occlusion_window_may_be_larger_than_the_image(small):
    maps = occlusion(
        run_to_layer(linear(), small, INPUT), UNIT, Window(window=100, stride=100), [0]
    )
    assert (maps == maps[:, :, :1, :1]).all()


@pytest.mark.parametrize("parameters", [{"window": 1}, {"window": 3, "stride": 4}])
def test_stride_that_skips_pixels_is_refused(parameters):
    with pytest.raises(ValidationError) as refusal:
        Window.model_validate(parameters)
    assert refusal.value.errors()[0]["loc"] == ("stride",)


def test_captum_is_not_imported_with_the_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    runpy.run_path(attribution.__file__)
