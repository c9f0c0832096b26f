"""Maps of networks that are described by programs: as those of the same network built of stages,
and as plain autograd's.
"""

import numpy as np
import pytest
import torch
from camreel.program import export_program
from torch import nn

from service.core.cams.head_gradients import AutogradBackend, NeckBackend
from service.core.cams.layer_pass import NetworkSplit
from service.core.cams.maps import class_maps
from service.core.cams.method import AttributionLevel
from service.core.cams.methods import METHODS, MethodSpec
from service.core.measures.sanity import cascade
from service.core.models.network import INPUT
from service.core.models.program_network import ProgramClassifier
from service.errors import InvalidValue, UnknownName
from tests.core.networks import residual
from tests.program.networks import EXAMPLES, example_images, example_module, program_network

CLASSES = [0, 3, 7]
NECKS = {
    "resnet18": "layer4",
    "mobilenet_v3_small": "features",
    "densenet": "features",
    "convnext": "features",
    "swin": "permute",
}
FEW_SAMPLES = {"samples": 2, "steps": 2, "patch": 8, "window": 8, "stride": 8}


def classifier(name):
    network = program_network(name)
    return ProgramClassifier(network.program, network.tensors)


def exported(module, images):
    export = export_program(module, images)
    return ProgramClassifier(export.program, export.tensors(module))


@pytest.fixture(scope="module")
def staged():
    return residual().eval()


@pytest.fixture(scope="module")
def program(staged):
    return exported(staged, torch.rand(2, 1, 28, 28))


def spec_of(method):
    fields = METHODS[method].parameters.model_fields
    parameters = {name: value for name, value in FEW_SAMPLES.items() if name in fields}
    return str(MethodSpec.from_names(method, None, parameters))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_draws_the_maps_of_the_network_of_stages(staged, program, images, method):
    spec = spec_of(method)
    layer = {
        AttributionLevel.INPUT: INPUT,
        AttributionLevel.LAYER: "block2",
        AttributionLevel.MULTI_LAYER: "block1,block2",
    }[METHODS[method].attribution_level]
    expected = class_maps(staged, images[:2], layer, [spec], [0, 3])
    actual = class_maps(program, images[:2], layer, [spec], [0, 3])
    peak = np.abs(expected.signed[spec]).max()
    assert peak > 0
    assert np.abs(actual.signed[spec] - expected.signed[spec]).max() <= 2e-5 * peak
    assert np.allclose(actual.probabilities, expected.probabilities, atol=1e-6)
    assert np.allclose(actual.activation_peaks, expected.activation_peaks)


@pytest.mark.parametrize("name", NECKS)
@pytest.mark.parametrize("count", [1, 5])
def test_neck_has_the_gradients_of_autograd(name, count):
    network = classifier(name)
    split = NetworkSplit.at(network, NECKS[name])
    assert isinstance(split.head.backend, NeckBackend)
    layer_pass = split.run(example_images(name, count))
    activations = layer_pass.activations.detach().requires_grad_()
    outputs = layer_pass.evaluate_head(activations)
    (gradients,) = layer_pass.gradients(None, CLASSES)
    for gradient, class_index in zip(gradients, CLASSES, strict=True):
        (expected,) = torch.autograd.grad(
            outputs[:, class_index].sum(), activations, retain_graph=True
        )
        assert (gradient - expected).abs().max() <= 1e-5 * expected.abs().max()
        weights = layer_pass.channel_weights[:, class_index]
        assert torch.allclose(weights, expected.mean((2, 3)), rtol=1e-4, atol=1e-7)


class _MeanOfMeans(nn.Module):
    """Windows of different sizes, averaged, and then their means."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(3)
        self.output = nn.Linear(4, 5)

    def forward(self, images):
        return self.output(self.pool(self.relu(self.conv(images))).mean((2, 3)))


class _MeanOfTokens(nn.Module):
    """A class token among the patches' tokens, and the mean of all."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 4, stride=4)
        self.token = nn.Parameter(torch.ones(1, 1, 4))
        self.norm = nn.LayerNorm(4)
        self.output = nn.Linear(4, 5)

    def forward(self, images):
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = self.norm(torch.cat([self.token.expand(patches.shape[0], -1, -1), patches], 1))
        return self.output(tokens.mean(1))


@pytest.mark.parametrize(("build", "layer"), [(_MeanOfMeans, "relu"), (_MeanOfTokens, "norm")])
def test_mean_over_other_numbers_than_the_positions_has_the_gradients_of_autograd(build, layer):
    torch.manual_seed(0)
    network = exported(build().eval(), torch.rand(2, 3, 12, 12))
    split = NetworkSplit.at(network, layer)
    assert isinstance(split.head.backend, NeckBackend)
    layer_pass = split.run(torch.rand(2, 3, 12, 12))
    activations = layer_pass.activations.detach().requires_grad_()
    outputs = layer_pass.evaluate_head(activations)
    (expected,) = torch.autograd.grad(outputs[:, 2].sum(), activations)
    (gradients,) = layer_pass.gradients(None, [2])
    assert torch.allclose(gradients[0], expected, atol=1e-6)
    weights = layer_pass.score_weights(None, [2])[:, 0]
    assert torch.allclose(weights, expected.mean((2, 3)), atol=1e-6)
    with pytest.raises(InvalidValue, match="global average pooling and one linear layer"):
        class_maps(network, torch.rand(1, 3, 12, 12), layer, ["cam"], [2])


@pytest.mark.parametrize("name", EXAMPLES)
def test_neck_is_recognized_at_the_default_layer_of_pooled_networks(name):
    network = classifier(name)
    backend = NetworkSplit.at(network, network.default_layer).head.backend
    # A transformer reads its class token: attention mixes channels above each layer.
    assert isinstance(backend, AutogradBackend if name == "vit" else NeckBackend)


@pytest.mark.parametrize("name", EXAMPLES)
def test_grad_cam_of_some_layers_is_that_of_autograd_on_the_module(name):
    network, module = classifier(name), example_module(name)
    images = example_images(name, 2)
    for layer in EXAMPLES[name].layers:
        layer_pass = NetworkSplit.at(network, layer).run(images)
        activations = layer_pass.activations.detach().requires_grad_()
        outputs = layer_pass.evaluate_head(activations)
        assert torch.allclose(outputs, module(images), rtol=1e-4, atol=1e-4)
        (gradient,) = torch.autograd.grad(outputs[:, 3].sum(), activations)
        expected = (gradient.mean((2, 3), keepdim=True) * activations).sum(1).detach()
        maps = class_maps(network, images, layer, ["proposed"], [3]).signed["proposed"][:, 0]
        assert np.abs(maps - expected.numpy()).max() <= 1e-5 * expected.abs().max()


def test_ablation_passes_on_what_crosses_the_layer(staged, program, images):
    layer = "block2.norm2"  # the residual connection passes beside it
    layer_pass = NetworkSplit.at(program, layer).run(images[:3])
    spec = MethodSpec.parse("ablation-cam")
    maps = spec.compute(layer_pass, [1])
    for image in range(3):
        alone = spec.compute(NetworkSplit.at(program, layer).run(images[image : image + 1]), [1])
        assert torch.allclose(maps[image], alone[0], rtol=1e-4, atol=1e-6)


def test_class_activation_mapping_needs_mean_pooling_and_one_linear_layer():
    images = example_images("resnet18", 2)
    network = classifier("resnet18")
    (maps,) = class_maps(network, images, "layer4", ["cam"], [3]).signed.values()
    activations = NetworkSplit.at(network, "layer4").run(images).activations
    weights = example_module("resnet18").fc.weight[3]
    expected = torch.einsum("k,nkhw->nhw", weights, activations).detach()
    assert np.allclose(maps[:, 0], expected, rtol=1e-4, atol=1e-5)
    for name in ("mobilenet_v3_small", "convnext", "vit"):
        network = classifier(name)
        with pytest.raises(InvalidValue, match="global average pooling and one linear layer"):
            class_maps(network, example_images(name, 1), network.default_layer, ["cam"], [3])


def test_guided_backpropagation_needs_relus():
    network = classifier("vit")
    with pytest.raises(InvalidValue, match="ReLU"):
        class_maps(network, example_images("vit", 1), INPUT, ["guided-backpropagation"], [3])


def test_full_grad_needs_convolutions_or_normalizations_with_a_bias():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    network = exported(module, torch.rand(2, 1, 4, 4))
    with pytest.raises(InvalidValue, match="bias"):
        class_maps(network, torch.rand(1, 1, 4, 4), INPUT, ["full-grad"], [0])


def test_unknown_layer_is_refused_with_the_layers(program):
    with pytest.raises(UnknownName, match=r"layer: no such layer; one of stem, .*, block2$"):
        program.split("block9")


def test_layers_have_the_names_of_modules_and_their_aliases(program):
    assert program.default_layer == "block2"
    assert program.split("block2").split.cut == program.split("block2.relu2").split.cut


def test_weights_of_another_precision_are_explained_in_single_precision(staged, images):
    export = export_program(staged, torch.rand(2, 1, 28, 28))
    tensors = export.tensors(staged)
    halves = {k: t.bfloat16() if t.is_floating_point() else t for k, t in tensors.items()}
    network = ProgramClassifier(export.program, halves)
    assert network(images[:1]).dtype == torch.float32
    assert class_maps(network, images[:1], "block2", ["proposed"]).signed["proposed"].any()


def test_cascade_randomizes_a_program_from_the_top(program, images):
    initial = dict(program.tensors)
    names = []
    for name, randomized in cascade(program, seed=0):
        names.append(name)
        for tensor_name, tensor in randomized.tensors.items():
            is_randomized = tensor_name.rpartition(".")[0] in names
            if tensor_name.endswith("weight") and tensor.ndim > 1:
                assert torch.equal(tensor, initial[tensor_name]) != is_randomized
        assert not torch.equal(randomized(images[:1]), program(images[:1]))
    assert names[0] == "output"
    assert names[-1] == "stem"
    assert all(torch.equal(tensor, initial[name]) for name, tensor in program.tensors.items())
