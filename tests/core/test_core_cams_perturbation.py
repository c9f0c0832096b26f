"""Score-CAM, its variants and Ablation-CAM equal torch-cam and pytorch-grad-cam."""

import copy

import pytest
import torch
from networks import close, residual, unchanged, vgg
from pytorch_grad_cam import AblationCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torchcam.methods import ISCAM, SSCAM, ScoreCAM

from service.core.cams import passes
from service.core.cams.layer_pass import Head, HeadPass, run_to_layer
from service.core.cams.method import NoParameters
from service.core.cams.passes import image_generator
from service.core.cams.perturbation import (
    Brightening,
    NoisyMasks,
    ablated_pre_activations,
    ablation_cam,
    is_cam,
    score_cam,
    ss_cam,
)
from service.core.cams.targets import TARGETS, parse_target
from service.core.models import StagedNetwork
from service.core.models.stages import Convolution, StagedSplit

UNIT = TARGETS["unit"]
ALL = [
    (score_cam, NoParameters()),
    (ss_cam, NoisyMasks(samples=3)),
    (is_cam, Brightening(samples=3)),
    (ablation_cam, NoParameters()),
]
NETWORKS_AND_LAYERS = [
    "table1 conv1",
    "table1 conv2",
    "residual stem",
    "residual block2",
    "vgg conv2",
    "vgg pool2",
]


@pytest.fixture(params=NETWORKS_AND_LAYERS)
def network_and_layer(request, learned):
    """A float64 copy of a network and one of its layers."""
    shape, layer = request.param.split()
    network = {"table1": lambda: learned("identity"), "residual": residual, "vgg": vgg}[shape]()
    return copy.deepcopy(network).double(), layer


def classes_of(network: StagedNetwork) -> range:
    return range(network.output.out_features)


def torchcams(extractor_class, network, images, layer, **options):
    """torch-cam's maps before scaling, for every class (N, C, H, W), >= 0."""
    maps = []
    with extractor_class(copy.deepcopy(network), target_layer=layer, **options) as extractor:
        if extractor_class is SSCAM:
            extractor._distrib = SeededNoise(images, extractor.std)
        for label in classes_of(network):
            with torch.no_grad():
                scores = extractor.model(images)
            maps += extractor(label, scores, normalized=False)
    return torch.stack(maps, dim=1)


class SeededNoise:
    """Replaces torch-cam's normal distribution with our random numbers from the seed."""

    def __init__(self, images, std):
        self.images, self.std, self.samples_left = images, std, 0

    def sample(self, shape):
        if self.samples_left == 0:  # once per class: ours uses the same numbers for all classes
            self.generators = [image_generator(0, image) for image in self.images]
            self.samples_left = 3
        self.samples_left -= 1
        noise = [
            torch.stack(
                [torch.randn((1, *shape[2:]), generator=generator)[0] for _ in range(shape[1])]
            )
            for generator in self.generators
        ]
        return self.std * torch.stack(noise).double()


@pytest.mark.parametrize(
    ("ours", "parameters", "theirs", "options"),
    [
        (score_cam, NoParameters(), ScoreCAM, {}),
        (ss_cam, NoisyMasks(samples=3, noise=0.5), SSCAM, {"num_samples": 3, "std": 0.5}),
        (is_cam, Brightening(samples=3), ISCAM, {"num_samples": 3}),
    ],
)
def test_maps_equal_torch_cam(network_and_layer, images, ours, parameters, theirs, options):
    network, layer = network_and_layer
    first_images = images[:2].double()
    expected = torchcams(theirs, network, first_images, layer, **options)
    maps = ours(run_to_layer(network, first_images, layer), UNIT, parameters, classes_of(network))
    assert close(maps, expected)


def test_ablation_weights_equal_pytorch_grad_cam_up_to_the_sign_of_the_score(
    network_and_layer, images
):
    network, layer = network_and_layer
    theirs = copy.deepcopy(network)
    layer_pass = run_to_layer(network, images.double(), layer)
    maps = ablation_cam(layer_pass, UNIT, NoParameters(), classes_of(network))
    stage = theirs.get_submodule(layer)
    for label in classes_of(network):
        with AblationCAM(model=theirs, target_layers=[stage]) as extractor:
            weights = extractor.get_cam_weights(
                images.double(),
                stage,
                [ClassifierOutputTarget(label)] * len(images),
                layer_pass.activations,
                None,
            )
        # Theirs divides by y, so a negative score negates the map.
        signed = (
            torch.from_numpy(weights).double() * layer_pass.pre_activations[:, label, None].sign()
        )
        expected = (signed[:, :, None, None] * layer_pass.activations).sum(1)
        assert close(maps[:, label], expected)


def test_maps_of_selected_classes_equal_those_of_all_classes(images):
    layer_pass = run_to_layer(residual(), images, "block1")
    for method, parameters in ALL:
        all_maps = method(layer_pass, TARGETS["softmax"], parameters, range(5))
        selected_maps = method(layer_pass, TARGETS["softmax"], parameters, [3, 0])
        assert close(selected_maps, all_maps[:, [3, 0]], 1e-5)


# --- computed by hand


def two_mask_network() -> StagedNetwork:
    """A of x is x and 1 - x; the units are sum(x) and 2 sum(1 - x), for 2 x 2 pixels."""
    network = StagedNetwork(
        {
            "conv": Convolution(1, 2, 1),
            "flatten": nn.Flatten(),
            "output": nn.Linear(8, 2, bias=False),
        }
    )
    with torch.no_grad():
        network.conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        network.conv.bias.copy_(torch.tensor([0.0, 1.0]))
        network.output.weight.copy_(torch.tensor([[1.0] * 4 + [0] * 4, [0.0] * 4 + [2] * 4]))
    return network.eval()


TINY_IMAGE = torch.tensor([[[[0.0, 1.0], [0.5, 0.25]]]])


def test_score_cam_computed_by_hand():
    x = TINY_IMAGE[0, 0]
    maps = score_cam(
        run_to_layer(two_mask_network(), TINY_IMAGE, "conv"), UNIT, NoParameters(), [0, 1]
    )
    under_x, under_rest = (x * x).sum(), (x * (1 - x)).sum()
    first = torch.stack([under_x, under_rest]).softmax(0)
    second = torch.stack([8 - 2 * under_x, 8 - 2 * under_rest]).softmax(0)
    assert torch.allclose(maps[0, 0], first[0] * x + first[1] * (1 - x))
    assert torch.allclose(maps[0, 1], second[0] * x + second[1] * (1 - x))


def test_ablation_computed_by_hand_in_closed_form_and_by_passes():
    network = two_mask_network()
    x = TINY_IMAGE[0, 0]
    # Without its channel a unit is 0, without the other channel it is unchanged: w = 1 and 0.
    maps = ablation_cam(run_to_layer(network, TINY_IMAGE, "conv"), UNIT, NoParameters(), [0, 1])
    assert torch.allclose(maps[0], torch.stack([x, 1 - x]))
    with torch.no_grad():
        network.output.weight.neg_()
    negative_maps = ablation_cam(
        run_to_layer(network, TINY_IMAGE, "conv"), UNIT, NoParameters(), [0, 1]
    )
    # Without its channel a negative score rises, so the channel is evidence against the class.
    assert torch.allclose(negative_maps[0], -torch.stack([x, 1 - x]))


def test_constant_channel_masks_the_whole_image():
    network = two_mask_network()
    with torch.no_grad():
        network.conv.weight[1] = 0
    x = TINY_IMAGE[0, 0]
    maps = score_cam(run_to_layer(network, TINY_IMAGE, "conv"), UNIT, NoParameters(), [0])
    weights = torch.stack([(x * x).sum(), torch.tensor(0.0)]).softmax(0)
    assert torch.allclose(maps[0, 0], weights[0] * x + weights[1])


def test_ablation_of_a_score_of_zero_is_finite(images):
    maps = ablation_cam(
        run_to_layer(residual(), images, "block2"),
        parse_target("contrast:2"),
        NoParameters(),
        [2, 3],
    )
    assert torch.equal(maps[:, 0], torch.zeros_like(maps[:, 0]))
    assert maps[:, 1].isfinite().all()
    assert maps[:, 1].any()


@pytest.mark.parametrize(
    ("shape", "layer"), [("table1", "conv2"), ("table1", "pool"), ("residual", "block2")]
)
def test_closed_form_agrees_with_passes(learned, images, shape, layer):
    network = copy.deepcopy(learned("identity") if shape == "table1" else residual()).double()
    layer_pass = run_to_layer(network, images.double(), layer)
    unknown_form = StagedSplit([], [nn.Sequential(*layer_pass.head.stages)], "identity")
    by_passes = HeadPass(Head(unknown_form), layer_pass.activations)
    assert torch.allclose(
        ablated_pre_activations(layer_pass),
        ablated_pre_activations(by_passes),
        rtol=1e-9,
        atol=1e-12,
    )


# --- properties of all methods


@pytest.mark.parametrize(("method", "parameters"), ALL)
def test_chunked_passes_give_the_same_maps(images, monkeypatch, method, parameters):
    network = vgg().double()
    layer_pass = run_to_layer(network, images.double(), "conv3")
    expected = method(layer_pass, UNIT, parameters, range(5))
    assert passes.rows_per_pass(network, layer_pass.images[:1]) > 100
    monkeypatch.setattr(passes, "PASS_BYTES", 3 * 8 * 8000)
    assert passes.rows_per_pass(network, layer_pass.images[:1]) < 8
    assert torch.allclose(
        method(layer_pass, UNIT, parameters, range(5)), expected, rtol=1e-9, atol=1e-14
    )


@pytest.mark.parametrize(("method", "parameters"), ALL)
def test_batch_equals_single_images(images, method, parameters):
    network = residual()
    batch = method(run_to_layer(network, images, "block2"), UNIT, parameters, range(5))
    for i in range(len(images)):
        single_map = method(
            run_to_layer(network, images[i : i + 1], "block2"), UNIT, parameters, range(5)
        )
        assert close(single_map[0], batch[i], 1e-5)


def test_noise_depends_on_the_seed(images):
    layer_pass = run_to_layer(residual(), images, "block2")
    maps = [ss_cam(layer_pass, UNIT, NoisyMasks(seed=seed), range(5)) for seed in (0, 0, 1)]
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])


@pytest.mark.parametrize(("method", "parameters"), ALL)
def test_network_stays_unchanged(images, method, parameters):
    network = vgg()
    state = torch.get_rng_state()
    with unchanged(network):
        method(run_to_layer(network, images, "conv4"), TARGETS["margin"], parameters, [1])
    assert torch.equal(state, torch.get_rng_state())
