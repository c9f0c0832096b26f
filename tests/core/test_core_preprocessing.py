"""Normalization of a network's input, and the baselines of methods and measures."""

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, Occlusion
from scipy.ndimage import gaussian_filter1d
from torch import nn
from torchcam.methods import ISCAM, ScoreCAM
from torchvision.transforms import v2

from service.core.cams.maps import class_maps
from service.core.input import InputSpec
from service.core.measures.deletion import deletion, insertion
from service.core.measures.masking import masked_images
from service.core.measures.measure import EvaluationBatch
from service.core.models.table1 import Table1
from service.core.preprocessing import baseline_images, blur, to_network_input

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def spec_of(baseline: str, channels: str = "rgb") -> InputSpec:
    count = {"rgb": 3, "gray": 1}[channels]
    return InputSpec.model_validate(
        {
            "channels": channels,
            "resize": {"size": 28},
            "mean": MEAN[:count],
            "std": STD[:count],
            "baseline": baseline,
        }
    )


@pytest.fixture
def color_images() -> torch.Tensor:
    return torch.randint(
        0, 256, (4, 3, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


@pytest.fixture
def color_network() -> torch.nn.Module:
    architecture = Table1.model_validate({"channels": [4, 6], "hidden_units": 12})
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        return architecture.build((3, 28, 28), 5).eval()


def test_normalization_is_torchvisions(color_images):
    expected = v2.functional.normalize(color_images.float() / 255, MEAN, STD)
    assert torch.allclose(to_network_input(color_images, spec_of("mean")), expected, atol=1e-6)


def test_levels_without_normalization_are_scaled_by_one_division(color_images):
    assert torch.equal(to_network_input(color_images), color_images.float() / 255)


def test_black_baseline_is_the_input_of_a_black_image(color_images):
    spec = spec_of("black")
    black = to_network_input(torch.zeros_like(color_images), spec)
    images = to_network_input(color_images, spec)
    assert torch.allclose(baseline_images(images, spec), black, atol=1e-6)


def test_mean_baseline_is_the_input_of_the_mean_level(color_images):
    spec = spec_of("mean")
    levels = torch.tensor(MEAN).view(1, 3, 1, 1).expand(4, 3, 28, 28)
    expected = v2.functional.normalize(levels, MEAN, STD)
    images = to_network_input(color_images, spec)
    assert torch.allclose(baseline_images(images, spec), expected, atol=1e-6)


def test_blur_is_scipys_gaussian_filter():
    image = torch.rand(2, 3, 30, 41, generator=torch.Generator().manual_seed(2))
    expected = image.numpy()
    for axis in (2, 3):
        expected = gaussian_filter1d(expected, 2.0, axis, mode="mirror", radius=6)
    assert np.allclose(blur(image, 2.0).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("baseline", ["mean", "black", "blur"])
def test_integrated_gradients_sum_to_the_score_above_the_baseline(
    color_images, color_network, baseline
):
    spec = spec_of(baseline)
    images = to_network_input(color_images, spec)
    text = "integrated-gradients?steps=128"
    maps = class_maps(color_network, images, "input", [text], [2], input_spec=spec).signed[text]
    expected = color_network(images) - color_network(baseline_images(images, spec))
    assert np.allclose(maps.sum((1, 2, 3)), expected[:, 2].detach().numpy(), atol=2e-3)


def test_integrated_gradients_from_black_are_captums(color_images, color_network):
    spec = spec_of("black")
    images = to_network_input(color_images, spec)
    text = "integrated-gradients?steps=16"
    maps = class_maps(color_network, images, "input", [text], [1], input_spec=spec).signed[text]
    black = to_network_input(torch.zeros_like(color_images), spec)
    theirs = IntegratedGradients(color_network).attribute(images, black, target=1, n_steps=16)
    assert np.allclose(maps[:, 0], theirs.sum(1).detach().numpy(), atol=1e-5)


def test_occlusion_hides_pixels_by_the_baseline(color_images, color_network):
    spec = spec_of("black")
    images = to_network_input(color_images, spec)
    text = "occlusion?window=7&stride=7"
    maps = class_maps(color_network, images, "input", [text], [1], input_spec=spec).signed[text]
    black = to_network_input(torch.zeros_like(color_images), spec)
    theirs = Occlusion(color_network).attribute(
        images, (3, 7, 7), strides=(3, 7, 7), baselines=black, target=1
    )
    assert np.allclose(maps[:, 0], theirs[:, 0].detach().numpy(), atol=1e-5)


def test_lime_of_an_image_that_is_its_baseline_is_zero(color_network):
    spec = spec_of("black")
    images = to_network_input(torch.zeros(1, 3, 28, 28, dtype=torch.uint8), spec)
    text = "lime?samples=50"
    maps = class_maps(color_network, images, "input", [text], [0], input_spec=spec).signed[text]
    assert np.abs(maps).max() < 1e-5


@pytest.mark.parametrize(
    ("text", "theirs", "options"),
    [
        ("score-cam", ScoreCAM, {}),
        ("is-cam?samples=3", ISCAM, {"num_samples": 3}),
    ],
)
def test_masked_images_of_score_cam_fade_to_black(
    color_images, color_network, text, theirs, options
):
    """torch-cam multiplies, so that its input must be 0 for black: levels, normalized within."""
    spec = spec_of("black")
    images = to_network_input(color_images[:2], spec)
    maps = class_maps(color_network, images, "conv2", [text], [1], input_spec=spec).signed[text]
    of_levels = nn.Sequential(v2.Normalize(MEAN, STD), color_network)
    levels = color_images[:2].float() / 255
    with theirs(of_levels, target_layer=color_network.conv2, **options) as extractor:
        with torch.no_grad():
            scores = of_levels(levels)
        (expected,) = extractor(1, scores, normalized=False)
    assert expected.abs().max() > 1e-3
    assert np.allclose(np.maximum(maps[:, 0], 0), expected.numpy(), atol=1e-5)


def test_masked_images_of_score_cam_fade_to_each_images_own_blur(color_images, color_network):
    spec = spec_of("blur")
    images = to_network_input(color_images[:2], spec)
    signed = class_maps(color_network, images, "conv2", ["score-cam"], [1], input_spec=spec).signed[
        "score-cam"
    ]
    blurred = baseline_images(images, spec)
    with torch.no_grad():
        activations = color_network.conv2(color_network.conv1(images))
        for index, channels in enumerate(activations):
            weights = []
            for channel in channels:
                mask = (channel - channel.min()) / (channel.max() - channel.min())
                mask = nn.functional.interpolate(mask[None, None], (28, 28), mode="bilinear")[0]
                mixed = mask * images[index] + (1 - mask) * blurred[index]
                weights.append(color_network(mixed[None])[0, 1])
            expected = torch.einsum("k,khw->hw", torch.stack(weights).softmax(0), channels)
            assert np.allclose(signed[index, 0], expected.numpy(), atol=1e-5)


def batch_of(network: torch.nn.Module, images: torch.Tensor, spec: InputSpec) -> EvaluationBatch:
    maps = torch.rand(len(images), 28, 28, generator=torch.Generator().manual_seed(4))
    return EvaluationBatch(
        network,
        to_network_input(images, spec),
        torch.arange(len(images)),
        maps,
        lambda *_: maps,
        input_spec=spec,
    )


@pytest.mark.parametrize("baseline", ["mean", "black", "blur"])
def test_deletion_ends_and_insertion_begins_at_the_baseline(color_images, color_network, baseline):
    spec = spec_of(baseline)
    batch = batch_of(color_network, color_images, spec)
    removed = baseline_images(batch.images, spec)
    ends = [color_network(images).softmax(1).diagonal() for images in (batch.images, removed)]
    # With one step, the area is the mean of the image's and the baseline's probability.
    expected = ((ends[0] + ends[1]) / 2).detach()
    assert torch.allclose(deletion(batch, steps=1), expected, atol=1e-5)
    assert torch.allclose(insertion(batch, steps=1), expected, atol=1e-5)


def test_image_masked_by_a_map_of_zeros_is_the_baseline(color_images, color_network):
    spec = spec_of("black")
    batch = batch_of(color_network, color_images, spec)
    batch.maps.zero_()
    assert torch.allclose(masked_images(batch), baseline_images(batch.images, spec), atol=1e-6)
