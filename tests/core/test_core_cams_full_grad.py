"""FullGrad: its parts sum to the unit, and its maps equal those of pytorch-grad-cam."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from networks import close, plain, residual, unchanged, vgg
from pytorch_grad_cam import FullGrad
from torch import nn

from service.core.cams import passes
from service.core.cams.backpropagation import full_grad, full_gradients, guided_backpropagation
from service.core.cams.layer_pass import run_to_layer
from service.core.cams.method import NoParameters
from service.core.cams.targets import TARGETS, Outputs
from service.core.models import StagedNetwork
from service.core.models.stages import INPUT, Convolution

UNIT = TARGETS["unit"]


@pytest.fixture(params=["table1", "residual", "residual in place", "vgg"])
def network(request, learned):
    return {
        "table1": lambda: copy.deepcopy(learned("identity")),
        "residual": residual,
        "residual in place": lambda: residual(inplace=True),
        "vgg": vgg,
    }[request.param]().double()


def scaled(maps: torch.Tensor) -> torch.Tensor:
    shifted = maps - maps.amin((-2, -1), keepdim=True)
    return shifted / shifted.amax((-2, -1), keepdim=True)


def test_full_grad_equals_pytorch_grad_cam(network, images):
    classes = range(network.output.out_features)
    maps = full_grad(run_to_layer(network, images.double(), INPUT), UNIT, NoParameters(), classes)
    assert (maps >= 0).all()
    theirs = plain(network)
    for module in theirs.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    for label in classes:
        with FullGrad(model=theirs, target_layers=[]) as extractor:
            # They add 1e-7 to the divisor; a score this large makes it negligible.
            targets = [lambda units, label=label: 1e9 * units[label]] * len(images)
            expected = torch.from_numpy(extractor(images.double(), targets)).double()
        assert close(scaled(maps[:, label]), expected)


def test_parts_sum_to_the_unit_if_linear_layers_have_no_bias(network, images):
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Sigmoid):
            pytest.skip("its hidden sigmoid is not piecewise linear")
    layer_pass = run_to_layer(network, images.double(), INPUT)
    for label, parts in zip(
        (0, 3), full_gradients(layer_pass, UNIT, layer_pass.images, [0, 3]), strict=True
    ):
        total = torch.stack([part.sum((1, 2, 3)) for part in parts]).sum(0)
        assert torch.allclose(total, layer_pass.pre_activations[:, label], rtol=1e-9)
        # Without the parts of the biases the sum would be too small.
        assert not torch.allclose(
            parts[0].sum((1, 2, 3)), layer_pass.pre_activations[:, label], rtol=1e-2
        )


def test_input_and_every_bias_have_a_part(images):
    layer_pass = run_to_layer(residual(), images, INPUT)
    (parts,) = full_gradients(layer_pass, UNIT, layer_pass.images, [0])
    # The input, the stem, and in each block two normalizations and the second convolution.
    assert [tuple(part.shape[1:]) for part in parts] == [
        (1, 28, 28),
        (6, 14, 14),
        *[(6, 14, 14)] * 3,
        *[(6, 7, 7)] * 3,
    ]


def test_full_grad_computed_by_hand():
    network = StagedNetwork(
        {"conv": Convolution(1, 1, 1), "flatten": nn.Flatten(), "output": nn.Linear(4, 1)}
    ).eval()
    with torch.no_grad():
        network.conv.weight.fill_(2)
        network.conv.bias.fill_(-1)
        network.output.weight.copy_(torch.tensor([[1.0, -1.0, 3.0, 5.0]]))
    # 2 x - 1 is -1, 1, 2, 3: the first ReLU is inactive.
    images = torch.tensor([[[[0.0, 1.0], [1.5, 2.0]]]])
    maps = full_grad(run_to_layer(network, images, INPUT), UNIT, NoParameters(), [0])
    # |G x| = 0, 2 1, 6 1.5, 10 2 and |G b| = 0, 1, 3, 5, each divided by its maximum.
    by_input, by_bias = torch.tensor([0, 2, 9, 20]) / 20, torch.tensor([0, 1, 3, 5]) / 5
    assert torch.allclose(maps.flatten(), by_input + by_bias)


@pytest.mark.parametrize("name", ["softmax", "margin"])
def test_full_grad_uses_the_gradient_of_the_target(images, name):
    network = residual().double()
    layer_pass = run_to_layer(network, images.double(), INPUT)
    pixels = images.double().requires_grad_()
    TARGETS[name].scores(Outputs(network(pixels), "identity"))[:, 2].sum().backward()
    (parts,) = full_gradients(layer_pass, TARGETS[name], layer_pass.images, [2])
    assert torch.allclose(parts[0], (pixels * pixels.grad).detach(), rtol=1e-5, atol=1e-12)


def test_chunked_passes_and_single_images_give_the_same_maps(images, monkeypatch):
    network = residual()
    expected = full_grad(run_to_layer(network, images, INPUT), UNIT, NoParameters(), range(5))
    monkeypatch.setattr(passes, "PASS_BYTES", 1)
    assert close(
        full_grad(run_to_layer(network, images, INPUT), UNIT, NoParameters(), range(5)), expected
    )
    single_map = full_grad(
        run_to_layer(network, images[1:2], INPUT), UNIT, NoParameters(), range(5)
    )
    assert close(single_map[0], expected[1], 1e-5)


def test_network_and_images_stay_unchanged(images):
    network = residual(inplace=True)
    pixels = images.clone()
    with unchanged(network), torch.no_grad():
        full_grad(run_to_layer(network, pixels, INPUT), TARGETS["softmax"], NoParameters(), [1])
    assert torch.equal(pixels, images)
    assert not pixels.requires_grad


def test_threads_sharing_a_network_agree_with_a_single_thread(images):
    network = residual(inplace=True)

    def plain_gradient(layer_pass, *_):
        pixels = layer_pass.images.clone().requires_grad_()
        return torch.autograd.grad(network(pixels)[:, 0].sum(), pixels)[0]

    methods = [full_grad, guided_backpropagation, plain_gradient]
    alone = [
        m(run_to_layer(network, images, INPUT), UNIT, NoParameters(), range(5)) for m in methods
    ]

    def work(i):
        method = methods[i % 3]
        return method(run_to_layer(network, images, INPUT), UNIT, NoParameters(), range(5))

    with ThreadPoolExecutor(8) as pool:
        for i, result in enumerate(pool.map(work, range(48))):
            assert torch.equal(result, alone[i % 3])
