"""Captum's Grad-CAM, in float64, as the oracle for every class, layer and method."""

from dataclasses import replace

import numpy as np
import pytest

from service.core.cams.maps import class_maps
from service.core.cams.methods import PAPER_METHODS
from service.core.datasets.dataset import Split
from service.core.images import as_input
from service.core.spec import RunSpec
from service.core.training import train

LAYERS = ["conv1", "conv2", "pool"]


def assert_equal(ours: np.ndarray, theirs: np.ndarray, peaks: np.ndarray) -> None:
    """Each map (H, W) is within 1e-5 of its peak."""
    assert ours.shape == theirs.shape
    errors = np.abs(ours - theirs).max((-2, -1))
    assert (errors <= 1e-5 * peaks).all(), f"off by {(errors / peaks).max():.1e} of the peak"


def own_peaks(maps: np.ndarray) -> np.ndarray:
    """The highest |value| of each map."""
    return np.abs(maps).max((-2, -1))


def images_peaks(maps: np.ndarray) -> np.ndarray:
    """The highest |value| of any map of the same image.

    What a network has learned to tell apart it weighs by differences of large terms. Of a map far
    weaker than its image's strongest, float32 has lost digits to them: theirs like ours.
    """
    return own_peaks(maps).max(axis=1, keepdims=True)


@pytest.mark.parametrize("method", PAPER_METHODS)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("output", ["identity", "sigmoid"])
@pytest.mark.parametrize("hidden", ["sigmoid", "relu", "tanh"])
def test_maps_of_an_untrained_network_are_captums(
    untrained, captum_maps, images, hidden, output, layer, method
):
    # A seed by which no class's map happens to be a small difference of large terms.
    network = untrained(seed=4, hidden_activation=hidden, output_activation=output)
    ours = class_maps(network, images, layer, [method]).signed[method]
    theirs = captum_maps(network, images, layer, method)
    assert_equal(ours, theirs, own_peaks(theirs))


@pytest.mark.parametrize("method", PAPER_METHODS)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("output", ["identity", "sigmoid"])
def test_maps_of_a_trained_network_are_captums(learned, captum_maps, images, output, layer, method):
    network = learned(output)
    ours = class_maps(network, images, layer, [method]).signed[method]
    theirs = captum_maps(network, images, layer, method)
    assert_equal(ours, theirs, images_peaks(theirs))


def test_maps_of_the_papers_network_on_mnist_are_captums(mnist, captum_maps):
    tested_on_few = replace(mnist, test=Split(mnist.test.images[:50], mnist.test.labels[:50]))
    spec = RunSpec.model_validate({"epochs": 1, "samples_per_epoch": 2000})
    *_, last = train(spec, tested_on_few)
    network = last.network.eval()
    pixels = as_input(mnist.test.images[:1])
    ours = class_maps(network, pixels, "conv2", list(PAPER_METHODS)).signed
    for method in PAPER_METHODS:
        theirs = captum_maps(network, pixels, "conv2", method)
        assert_equal(ours[method], theirs, images_peaks(theirs))
