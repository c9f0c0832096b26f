"""Captum's Grad-CAM, in float64, as the oracle for every class, layer and method."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from service.core.cams.maps import class_maps
from service.core.cams.methods import PAPER_METHODS
from service.core.datasets.dataset import Split
from service.core.preprocessing import to_network_input
from service.core.spec import RunSpec
from service.core.training import train
from tests.single_precision import RELATIVE_ERROR, allowed_errors, assert_within_errors

LAYERS = ["conv1", "conv2", "pool"]


@pytest.mark.parametrize("method", PAPER_METHODS)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("output", ["identity", "sigmoid"])
@pytest.mark.parametrize("hidden", ["sigmoid", "relu", "tanh"])
def test_maps_of_an_untrained_network_equal_captum(
    untrained, captum_maps, images, hidden, output, layer, method
):
    # With this seed no class's map is a small difference of large terms.
    network = untrained(seed=4, hidden_activation=hidden, output_activation=output)
    ours = class_maps(network, images, layer, [method]).signed[method]
    theirs = captum_maps(network, images, layer, method)
    assert_within_errors(ours, theirs, RELATIVE_ERROR * np.abs(theirs).max((-2, -1)))


@pytest.mark.parametrize("method", PAPER_METHODS)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("output", ["identity", "sigmoid"])
def test_maps_of_a_trained_network_equal_captum(
    learned, captum_maps, images, output, layer, method
):
    network = learned(output)
    ours = class_maps(network, images, layer, [method]).signed[method]
    theirs = captum_maps(network, images, layer, method)
    single = captum_maps(network, images, layer, method, torch.float32)
    assert_within_errors(ours, theirs, allowed_errors(theirs, single))


def test_maps_of_the_papers_network_on_mnist_equal_captum(mnist, captum_maps):
    small_test_split = replace(mnist, test=Split(mnist.test.images[:50], mnist.test.labels[:50]))
    spec = RunSpec.model_validate({"epochs": 1, "samples_per_epoch": 2000})
    *_, last = train(spec, small_test_split)
    network = last.network.eval()
    pixels = to_network_input(mnist.test.images[:1])
    ours = class_maps(network, pixels, "conv2", list(PAPER_METHODS)).signed
    for method in PAPER_METHODS:
        theirs = captum_maps(network, pixels, "conv2", method)
        single = captum_maps(network, pixels, "conv2", method, torch.float32)
        assert_within_errors(ours[method], theirs, allowed_errors(theirs, single))
