"""The gradient methods equal torch-cam and pytorch-grad-cam on three kinds of networks.

All maps are float64, where the constants that the libraries add to denominators are negligible,
and unscaled. Each intended difference has its own test.
"""

import copy

import numpy as np
import pytest
import torch
from pytorch_grad_cam import (
    FEM,
    KPCA_CAM,
    EigenCAM,
    EigenGradCAM,
    GradCAMElementWise,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    SegEigenCAM,
    ShapleyCAM,
    XGradCAM,
)
from pytorch_grad_cam import GradCAM as TheirGradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchcam.methods import CAM, FinerCAM, GradCAMpp, SmoothGradCAMpp
from torchcam.methods import GradCAM as TorchGradCAM
from torchcam.methods import LayerCAM as TorchLayerCAM
from torchcam.methods import XGradCAM as TorchXGradCAM

from service.core.cams.layer_pass import run_to_layer, weighted_sum
from service.core.cams.maps import class_maps
from service.core.cams.methods import MethodSpec
from service.core.models import StagedNetwork
from service.errors import InvalidValue
from tests.core.networks import CLASSES, close, residual, unchanged, vgg

IMAGES = torch.rand((3, 1, 28, 28), generator=torch.Generator().manual_seed(1)).double()


def table1(untrained) -> StagedNetwork:
    network = untrained(seed=4)
    network.output = nn.Linear(network.output.in_features, CLASSES)
    return network


NETWORKS_AND_LAYERS = ["table1", "table1-conv1", "residual", "residual-block1", "vgg", "vgg-conv2"]


@pytest.fixture(params=NETWORKS_AND_LAYERS)
def network_and_layer(request, untrained) -> tuple[StagedNetwork, str]:
    """A float64 network and a layer, whose head has a closed form, a convolution, or neither."""
    kind, _, layer = request.param.partition("-")
    torch.manual_seed(0)
    network = {"table1": lambda: table1(untrained), "residual": residual, "vgg": vgg}[kind]()
    last = {"table1": "conv2", "residual": "block2", "vgg": "conv4"}[kind]
    return copy.deepcopy(network).double().eval(), layer or last


def ours(network: StagedNetwork, layer: str, text: str) -> Tensor:
    """Maps (N, C, H, W) after their ReLU."""
    with torch.no_grad():
        layer_pass = run_to_layer(network, IMAGES, layer)
        return MethodSpec.parse(text).compute(layer_pass, range(CLASSES)).clamp(min=0)


def torch_cams(
    network: StagedNetwork, layer: str, method: type, fc_layer: str | None = None, **options: object
) -> Tensor:
    copied = copy.deepcopy(network).requires_grad_()
    maps = []
    build = {"fc_layer": fc_layer} if fc_layer else {}
    with method(copied, layer, **build) as extractor:
        for label in range(CLASSES):
            scores = copied(IMAGES)
            maps.append(extractor(label, scores, normalized=False, **options)[0].detach())
    return torch.stack(maps, dim=1)


def grad_cams(network: StagedNetwork, layer: str, method: type) -> Tensor:
    """pytorch-grad-cam's own arithmetic, without its scaling and resizing."""
    copied = copy.deepcopy(network).requires_grad_()
    stage = copied.get_submodule(layer)
    maps = []
    with method(copied, [stage]) as extractor:
        for label in range(CLASSES):
            targets = [ClassifierOutputTarget(label)] * len(IMAGES)
            extractor(IMAGES, targets)
            # Calls get_cam_image as their forward does; its map is unscaled.
            extractor.outputs = extractor.activations_and_grads(IMAGES.clone().requires_grad_())
            score = sum(t(o) for t, o in zip(targets, extractor.outputs, strict=True))
            if extractor.detach:
                score.backward(retain_graph=True)
                activations_and_gradients = [
                    [tensor.data.numpy() for tensor in part]
                    for part in (
                        extractor.activations_and_grads.activations,
                        extractor.activations_and_grads.gradients,
                    )
                ]
            else:
                leaf = next(iter(copied.parameters()))
                torch.autograd.grad(score, leaf, retain_graph=True, create_graph=True)
                activations_and_gradients = [
                    extractor.activations_and_grads.activations,
                    extractor.activations_and_grads.gradients,
                ]
            cam = extractor.get_cam_image(
                IMAGES,
                stage,
                targets,
                activations_and_gradients[0][0],
                activations_and_gradients[1][0],
                eigen_smooth=False,
            )
            maps.append(torch.from_numpy(np.maximum(np.asarray(cam), 0)))
    return torch.stack(maps, dim=1).double()


@pytest.mark.parametrize(
    ("text", "method", "options"),
    [
        ("grad-cam", TorchGradCAM, {}),
        ("x-grad-cam", TorchXGradCAM, {"eps": 0}),
        ("layer-cam", TorchLayerCAM, {}),
        ("finer-cam", FinerCAM, {}),
    ],
)
def test_equals_torch_cam(network_and_layer, text, method, options):
    network, layer = network_and_layer
    with unchanged(network):
        result = ours(network, layer, text)
    assert close(result, torch_cams(network, layer, method, **options))


@pytest.mark.parametrize(
    ("text", "method"),
    [
        ("grad-cam", TheirGradCAM),
        ("hires-cam", HiResCAM),
        ("element-wise-grad-cam", GradCAMElementWise),
        ("x-grad-cam", XGradCAM),
        ("layer-cam", LayerCAM),
        ("shapley-cam", ShapleyCAM),
        ("seg-eigen-cam", SegEigenCAM),
        ("fem", FEM),
    ],
)
def test_equals_pytorch_grad_cam(network_and_layer, text, method):
    network, layer = network_and_layer
    with unchanged(network):
        result = ours(network, layer, text)
    assert close(result, grad_cams(network, layer, method))


def test_grad_cam_plus_plus_equals_pytorch_grad_cam_at_large_gradients(network_and_layer):
    # It adds 1e-6 to a denominator of G^2 and G^3; with large gradients this is negligible.
    network, layer = network_and_layer
    with torch.no_grad():
        network.output.weight.mul_(1e6)
    assert close(ours(network, layer, "grad-cam++"), grad_cams(network, layer, GradCAMPlusPlus))


def test_grad_cam_plus_plus_differs_from_torch_cam_without_denominator(network_and_layer):
    # torch-cam 0.5 divides a copy, so that its weights are sum_ij G^2 ReLU(G).
    network, layer = network_and_layer
    theirs = torch_cams(network, layer, GradCAMpp)
    with torch.no_grad():
        layer_pass = run_to_layer(network, IMAGES, layer)
        gradients = torch.cat(list(layer_pass.gradients(None, range(CLASSES))))
        weights = (gradients.square() * gradients.clamp(min=0)).sum((-2, -1)).transpose(0, 1)
        undivided = weighted_sum(weights, layer_pass.activations).clamp(min=0)
    assert close(undivided, theirs)
    assert not close(ours(network, layer, "grad-cam++"), theirs)


def test_smooth_grad_cam_plus_plus_without_noise_is_grad_cam_plus_plus(network_and_layer):
    network, layer = network_and_layer
    noiseless = ours(network, layer, "smooth-grad-cam++?noise=1e-12&samples=2")
    assert close(noiseless, ours(network, layer, "grad-cam++"))


def test_smooth_grad_cam_plus_plus_differs_from_torch_cam_in_its_sums(network_and_layer):
    # torch-cam 0.5 has sum_ab(A_ab G_ab^3) where equation 6 has sum_ab(A_ab) G_ij^3, and uses the
    # last sample's gradient instead of the mean; without noise only the first difference remains.
    network, layer = network_and_layer
    copied = copy.deepcopy(network).requires_grad_()
    with SmoothGradCAMpp(copied, layer, num_samples=1, std=1e-12) as extractor:
        maps = []
        for label in range(CLASSES):
            copied(IMAGES)
            maps.append(extractor(label, normalized=False, eps=1e-30)[0].detach())
    theirs = torch.stack(maps, dim=1)
    with torch.no_grad():
        layer_pass = run_to_layer(network, IMAGES, layer)
        first = torch.cat(list(layer_pass.gradients(None, range(CLASSES))))
        sums = (layer_pass.activations * first.pow(3)).sum((-2, -1), keepdim=True)
        alpha = first.square() / (2 * first.square() + sums + 1e-30)
        weights = (alpha * first.clamp(min=0)).sum((-2, -1)).transpose(0, 1)
        assert close(weighted_sum(weights, layer_pass.activations).clamp(min=0), theirs)
    if layer != "block2":  # below global average pooling G is constant, so both are equal
        assert not close(ours(network, layer, "smooth-grad-cam++?noise=1e-12&samples=1"), theirs)


def test_smooth_grad_cam_plus_plus_depends_on_the_seed_alone(untrained):
    network, text = untrained(seed=4), "smooth-grad-cam++?samples=3"
    first, repeated = (class_maps(network, IMAGES.float(), "conv2", [text]) for _ in range(2))
    assert np.array_equal(first.signed[text], repeated.signed[text])
    other_seed = class_maps(network, IMAGES.float(), "conv2", [text + "&seed=1"])
    assert not np.allclose(first.signed[text], other_seed.signed[text + "&seed=1"])


@pytest.mark.parametrize(
    ("text", "method"),
    [("eigen-cam", EigenCAM), ("eigen-grad-cam", EigenGradCAM), ("kpca-cam", KPCA_CAM)],
)
def test_principal_components_equal_pytorch_grad_cam_up_to_the_sign(
    network_and_layer, text, method
):
    # LAPACK determines the sign of theirs; ours agrees with the summed channels.
    network, layer = network_and_layer
    theirs = grad_cams(network, layer, method)
    with torch.no_grad():
        layer_pass = run_to_layer(network, IMAGES, layer)
        signed = MethodSpec.parse(text).compute(layer_pass, range(CLASSES))
    for image in range(len(IMAGES)):
        for label in range(CLASSES):
            our_map, their_map = signed[image, label], theirs[image, label]
            assert any(
                close(candidate.clamp(min=0), their_map) for candidate in (our_map, -our_map)
            )


def test_sign_of_a_principal_component_agrees_with_the_summed_channels(network_and_layer):
    network, layer = network_and_layer
    with torch.no_grad():
        layer_pass = run_to_layer(network, IMAGES, layer)
        for text in ("eigen-cam", "kpca-cam"):
            maps = MethodSpec.parse(text).compute(layer_pass, [0])[:, 0].flatten(1)
            sums = layer_pass.activations.sum(1).flatten(1)
            assert ((maps - maps.mean(1, True)) * (sums - sums.mean(1, True))).sum(1).min() > 0


def test_class_activation_mapping_equals_torch_cam():
    network = residual().double()
    theirs = torch_cams(network, "block2", CAM, fc_layer="output")  # before a ReLU
    assert close(ours(network, "block2", "cam"), theirs.clamp(min=0))


def test_class_activation_mapping_requires_global_average_pooling(untrained):
    with pytest.raises(InvalidValue, match="global average pooling and one linear layer"):
        class_maps(untrained(), IMAGES.float(), "conv2", ["cam"])


def test_grad_cam_below_global_average_pooling_is_class_activation_mapping():
    # Selvaraju 2017, section 3.1: alpha = w / Z.
    network = residual().double()
    positions = 7 * 7
    cam, grad_cam = (ours(network, "block2", text) for text in ("cam", "grad-cam"))
    assert close(grad_cam * positions, cam, 1e-9)
