"""Maps do not depend on how the work is divided into classes, images and threads."""

import copy
import weakref
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
def networks(learned) -> list[StagedNetwork]:
    """Table 1, whose head has a closed form, and a network whose head has none."""
    torch.manual_seed(0)
    network_without_closed_form = StagedNetwork(
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
    return [learned("identity"), network_without_closed_form.eval()]


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert ours.keys() == theirs.keys()
    for method in PAPER_METHODS:
        peak = np.abs(theirs[method]).max()
        assert np.allclose(ours[method], theirs[method], rtol=0, atol=1e-6 * peak)


@pytest.mark.parametrize("bytes_of_gradients", [1, 200_000])
def test_chunks_of_classes_give_the_same_maps(networks, images, monkeypatch, bytes_of_gradients):
    _, network = networks
    at_once = class_maps(network, images, "conv", list(PAPER_METHODS)).signed
    gradient_calls = []
    autograd_grad = torch.autograd.grad

    def record_call(*args, **kwargs):
        gradient_calls.append(args)
        return autograd_grad(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", record_call)
    chunked = class_maps(
        network, images, "conv", list(PAPER_METHODS), memory_bytes=4 * bytes_of_gradients
    )
    assert_same(chunked.signed, at_once)
    # 3 images of 4 x 24 x 24 float32 are 27,648 bytes for one class: 1, or 7 of the 10, a chunk.
    assert len(gradient_calls) == {1: 10, 200_000: 2}[bytes_of_gradients]


def test_batch_equals_single_images(networks, images):
    for network in networks:
        layer = network.last_convolution
        batch = class_maps(network, images, layer, list(PAPER_METHODS))
        for i in range(len(images)):
            alone = class_maps(network, images[i : i + 1], layer, list(PAPER_METHODS))
            assert_same(batch.select_image(i).signed, alone.signed)
            assert np.allclose(batch.probabilities[i], alone.probabilities[0], atol=1e-6)
            assert batch.activation_peaks[i] == pytest.approx(alone.activation_peaks[0], rel=1e-6)


def test_both_methods_in_one_pass_equal_separate_passes(learned, images):
    network = learned("sigmoid")
    both_maps = class_maps(network, images, "conv2", list(PAPER_METHODS)).signed
    for method in PAPER_METHODS:
        alone = class_maps(network, images, "conv2", [method]).signed
        assert list(alone) == [method]
        assert np.array_equal(alone[method], both_maps[method])


def test_eight_threads_sharing_a_network_agree_with_one(networks, digits):
    jobs = [
        (network, layer, to_network_input(digits.test.images[i : i + 2]))
        for network in networks
        for layer in network.layers
        for i in range(0, 16, 2)
    ]
    expected = [
        class_maps(network, pixels, layer, list(PAPER_METHODS)) for network, layer, pixels in jobs
    ]
    barrier = Barrier(8)

    def work(first: int) -> dict[int, dict[str, np.ndarray]]:
        barrier.wait()
        return {
            i: class_maps(jobs[i][0], jobs[i][2], jobs[i][1], list(PAPER_METHODS)).signed
            for i in range(first, len(jobs), 8)
        }

    with ThreadPoolExecutor(8) as threads:
        maps_by_job = {i: maps for part in threads.map(work, range(8)) for i, maps in part.items()}
    assert sorted(maps_by_job) == list(range(len(jobs)))
    for i, maps in maps_by_job.items():
        assert_same(maps, expected[i].signed)


def test_pass_leaves_the_network_unchanged(networks, images):
    for network in map(copy.deepcopy, networks):
        network.zero_grad()  # removes gradients left by the training
        initial_state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        initial_flags = [parameter.requires_grad for parameter in network.parameters()]
        class_maps(network, images, network.layers[0], list(PAPER_METHODS))
        assert all(
            torch.equal(network.state_dict()[name], initial_state[name]) for name in initial_state
        )
        assert [parameter.requires_grad for parameter in network.parameters()] == initial_flags
        assert all(parameter.grad is None for parameter in network.parameters())
        assert not any(stage._forward_hooks or stage._backward_hooks for stage in network.modules())


def test_network_in_training_mode_is_explained_in_evaluation_mode(untrained, digits):
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
            class_map = result.class_map(method, 0, label)
            assert class_map.values.dtype == class_map.signed.dtype == np.float32
            assert np.array_equal(
                class_map.values, np.where(class_map.signed > 0, class_map.signed, 0)
            )
            assert class_map.peak == class_map.values.max() >= 0
            assert class_map.minimum == class_map.signed.min()


def test_probabilities_are_softmax_of_the_logits(learned, images):
    for output_activation in ("identity", "sigmoid"):
        network = learned(output_activation)
        with torch.no_grad():
            theirs = network.logits(network(images)).softmax(1)
        ours = class_maps(network, images, "conv2", []).probabilities
        assert np.allclose(ours, theirs.numpy(), atol=1e-6)
        assert np.allclose(ours.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("layer", ["conv3", "flatten", "hidden", "output", "", "conv1.weight"])
def test_unknown_layer_is_refused_with_the_available_ones(untrained, images, layer):
    with pytest.raises(UnknownName, match="no such layer; one of conv1, conv2, pool") as refusal:
        class_maps(untrained(), images, layer, ["proposed"])
    assert refusal.value.field == "layer"
    assert refusal.value.name == layer
    assert refusal.value.allowed == {"enum": ["conv1", "conv2", "pool"]}


def test_unknown_method_is_refused_with_the_available_ones(untrained, images):
    with pytest.raises(UnknownName, match="no such method; one of conventional, proposed") as error:
        class_maps(untrained(), images, "conv2", ["proposed", "grad-camm"])
    assert error.value.allowed == {"enum": list(METHODS)}


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_blocks_of_images_give_the_same_maps(learned, digits, layer):
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


def test_network_with_a_replaced_stage_has_the_maps_of_its_new_stages(learned, images):
    network = copy.deepcopy(learned("identity"))
    before = class_maps(network, images, "conv2", list(PAPER_METHODS))
    network.activation = nn.Tanh()
    after = class_maps(network, images, "conv2", list(PAPER_METHODS))
    alone = class_maps(copy.deepcopy(network), images, "conv2", list(PAPER_METHODS))
    assert_same(after.signed, alone.signed)
    assert not np.allclose(after.probabilities, before.probabilities)


def test_network_with_another_output_activation_has_its_probabilities(learned, images):
    network = copy.deepcopy(learned("identity"))
    before = class_maps(network, images, "conv2", list(PAPER_METHODS))
    network.output_activation = "sigmoid"
    after = class_maps(network, images, "conv2", list(PAPER_METHODS))
    with torch.no_grad():
        expected = network(images).sigmoid().softmax(1)
    assert np.allclose(after.probabilities, expected, atol=1e-6)
    assert not np.allclose(after.probabilities, before.probabilities)


def test_split_network_is_freed_with_its_last_reference(learned, images):
    network = copy.deepcopy(learned("identity"))
    class_maps(network, images, "conv2", list(PAPER_METHODS))
    reference = weakref.ref(network)
    del network
    assert reference() is None


@pytest.mark.parametrize("layer", ["conv1", "conv2", "pool"])
def test_activation_peaks_are_the_largest_absolute_activations(learned, images, layer):
    network = copy.deepcopy(learned("identity"))
    if layer == "pool":  # with negative activations, the largest by absolute value
        network.conv2 = nn.Conv2d(network.conv2.in_channels, network.conv2.out_channels, 3)
        nn.init.constant_(network.conv2.bias, -10)
    with torch.no_grad():
        below, _ = network.split_at(layer)
        expected = nn.Sequential(*below)(images).abs().amax((1, 2, 3))
    maps = class_maps(network, images, layer, list(PAPER_METHODS))
    assert np.array_equal(maps.activation_peaks, expected)
