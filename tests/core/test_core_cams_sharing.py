"""However the work is cut up, by classes, images or threads, the maps are the same."""

import copy
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from torch import nn

from service.core.cams.maps import class_maps, explain_images, images_per_block
from service.core.cams.methods import METHODS, PAPER_METHODS
from service.core.models.stages import Convolution, StagedNetwork
from service.core.preprocessing import to_network_input
from service.errors import UnknownName


@pytest.fixture
def with_and_without_closed_form(learned) -> list[StagedNetwork]:
    """Table 1, whose head has a closed form, and a network whose head has none."""
    torch.manual_seed(0)
    other = StagedNetwork(
        {
            "conv": Convolution(1, 4, 5),
            "pool": nn.AvgPool2d(3, stride=2),
            "flatten": nn.Flatten(),
            "hidden": nn.Linear(4 * 11 * 11, 8),
            "activation": nn.GELU(),
            "output": nn.Linear(8, 10),
        },
        output_activation="sigmoid",
    )
    return [learned("identity"), other.eval()]


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert ours.keys() == theirs.keys()
    for method in PAPER_METHODS:
        peak = np.abs(theirs[method]).max()
        assert np.allclose(ours[method], theirs[method], rtol=0, atol=1e-6 * peak)


@pytest.mark.parametrize("bytes_of_gradients", [1, 200_000])
def test_chunks_of_classes_give_what_all_classes_at_once_give(
    with_and_without_closed_form, images, monkeypatch, bytes_of_gradients
):
    _, network = with_and_without_closed_form
    at_once = class_maps(network, images, "conv", list(PAPER_METHODS)).signed
    products = []
    real = torch.autograd.grad

    def counted(*args, **kwargs):
        products.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    few = class_maps(
        network, images, "conv", list(PAPER_METHODS), memory_bytes=4 * bytes_of_gradients
    )
    assert_same(few.signed, at_once)
    # 3 images of 4 x 24 x 24 float32 are 27,648 bytes for one class: 1, or 7 of the 10, a chunk.
    assert len(products) == {1: 10, 200_000: 2}[bytes_of_gradients]


def test_a_batch_gives_what_its_images_give_one_by_one(with_and_without_closed_form, images):
    for network in with_and_without_closed_form:
        layer = network.last_convolution
        batch = class_maps(network, images, layer, list(PAPER_METHODS))
        for i in range(len(images)):
            alone = class_maps(network, images[i : i + 1], layer, list(PAPER_METHODS))
            assert_same(batch.select_image(i).signed, alone.signed)
            assert np.allclose(batch.probabilities[i], alone.probabilities[0], atol=1e-6)
            assert batch.activation_peaks[i] == pytest.approx(alone.activation_peaks[0], rel=1e-6)


def test_both_methods_in_one_pass_are_those_asked_for_alone(learned, images):
    network = learned("sigmoid")
    together = class_maps(network, images, "conv2", list(PAPER_METHODS)).signed
    for method in PAPER_METHODS:
        alone = class_maps(network, images, "conv2", [method]).signed
        assert list(alone) == [method]
        assert np.array_equal(alone[method], together[method])


def test_eight_threads_share_a_network_as_one_would_use_it(with_and_without_closed_form, digits):
    jobs = [
        (network, layer, to_network_input(digits.test.images[i : i + 2]))
        for network in with_and_without_closed_form
        for layer in network.layers
        for i in range(0, 16, 2)
    ]
    alone = [class_maps(network, some, layer, list(PAPER_METHODS)) for network, layer, some in jobs]
    together = Barrier(8)

    def work(first: int) -> dict[int, dict[str, np.ndarray]]:
        together.wait()
        return {
            i: class_maps(jobs[i][0], jobs[i][2], jobs[i][1], list(PAPER_METHODS)).signed
            for i in range(first, len(jobs), 8)
        }

    with ThreadPoolExecutor(8) as threads:
        answers = {i: maps for part in threads.map(work, range(8)) for i, maps in part.items()}
    assert sorted(answers) == list(range(len(jobs)))
    for i, maps in answers.items():
        assert_same(maps, alone[i].signed)


def test_a_pass_leaves_no_trace_on_the_network(with_and_without_closed_form, images):
    for network in map(copy.deepcopy, with_and_without_closed_form):
        network.zero_grad()  # training left gradients of its own
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        needed = [parameter.requires_grad for parameter in network.parameters()]
        class_maps(network, images, network.layers[0], list(PAPER_METHODS))
        assert all(torch.equal(network.state_dict()[name], before[name]) for name in before)
        assert [parameter.requires_grad for parameter in network.parameters()] == needed
        assert all(parameter.grad is None for parameter in network.parameters())
        assert not any(stage._forward_hooks or stage._backward_hooks for stage in network.modules())


def test_a_network_in_training_is_looked_at_in_evaluation_mode(untrained, digits):
    pixels = list(digits.test.images[:2])
    network = untrained(dropout=0.9)
    expected = explain_images(network, pixels, "conv2", ["proposed"])
    network.train()
    result = explain_images(network, pixels, "conv2", ["proposed"])
    assert network.training
    assert np.array_equal(result.signed["proposed"], expected.signed["proposed"])


def test_values_are_the_signed_map_after_relu(learned, images):
    result = class_maps(learned("identity"), images, "conv2", list(PAPER_METHODS))
    for method in PAPER_METHODS:
        for label in range(10):
            one = result.class_map(method, 0, label)
            assert one.values.dtype == one.signed.dtype == np.float32
            assert np.array_equal(one.values, np.where(one.signed > 0, one.signed, 0))
            assert one.peak == one.values.max() >= 0
            assert one.minimum == one.signed.min()


def test_probabilities_are_softmaxs(learned, images):
    for output_activation in ("identity", "sigmoid"):
        network = learned(output_activation)
        with torch.no_grad():
            theirs = network.logits(network(images)).softmax(1)
        ours = class_maps(network, images, "conv2", []).probabilities
        assert np.allclose(ours, theirs.numpy(), atol=1e-6)
        assert np.allclose(ours.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("layer", ["conv3", "flatten", "hidden", "output", "", "conv1.weight"])
def test_an_unknown_layer_is_refused_with_those_there_are(untrained, images, layer):
    with pytest.raises(UnknownName, match="no such layer; one of conv1, conv2, pool") as refusal:
        class_maps(untrained(), images, layer, ["proposed"])
    assert refusal.value.field == "layer"
    assert refusal.value.name == layer
    assert refusal.value.allowed == {"enum": ["conv1", "conv2", "pool"]}


def test_an_unknown_method_is_refused_with_those_there_are(untrained, images):
    with pytest.raises(UnknownName, match="no such method; one of conventional, proposed") as error:
        class_maps(untrained(), images, "conv2", ["proposed", "grad-camm"])
    assert error.value.allowed == {"enum": list(METHODS)}


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_many_images_in_blocks_give_what_they_give_in_one(learned, digits, layer):
    network, pixels = learned("identity"), to_network_input(digits.test.images[:40])
    methods = ["proposed", "layer-cam/centered"]
    at_once = class_maps(network, pixels, layer, methods)
    blocks = class_maps(network, pixels, layer, methods, memory_bytes=2**21)
    assert images_per_block(network, pixels, 2**21) < 20 < images_per_block(network, pixels, 2**30)
    for method in methods:
        peak = np.abs(at_once.signed[method]).max()
        assert np.allclose(blocks.signed[method], at_once.signed[method], atol=1e-5 * peak)
    assert np.allclose(blocks.probabilities, at_once.probabilities, atol=1e-6)
    assert np.allclose(blocks.activation_peaks, at_once.activation_peaks, rtol=1e-5)
