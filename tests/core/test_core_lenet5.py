"""LeNet-5 has the shapes of its paper, and is trained, stored and explained as any architecture."""

import numpy as np
import pytest
import torch
from torch import nn

from service.core import checkpoints
from service.core.cams.maps import class_maps
from service.core.cams.methods import PAPER_METHODS
from service.core.checkpoints import CheckpointHeader
from service.core.models import describe_layers
from service.core.models.lenet5 import LeNet5
from service.core.spec import RunSpec
from service.core.training import train
from tests.single_precision import RELATIVE_ERROR, assert_within_errors


def shapes(network: nn.Sequential, image: torch.Tensor) -> dict[str, tuple[int, ...]]:
    signal, result = image, {}
    for name, stage in network.named_children():
        signal = stage(signal)
        result[name] = tuple(signal.shape[1:])
    return result


@pytest.mark.parametrize("side", [28, 32])
def test_network_has_the_shapes_of_its_paper(side):
    network = LeNet5().build((1, side, side), 10)
    result = shapes(network, torch.zeros(1, 1, side, side))
    assert result["s2"] == (6, 14, 14)
    assert result["c3"] == (16, 10, 10)
    assert result["s4"] == (16, 5, 5)
    assert (result["c5"], result["f6"], result["output"]) == ((120,), (84,), (10,))
    # By hand: 156 + 2,416 (full C3) + 48,120 + 10,164 + 850.
    assert sum(weight.numel() for weight in network.parameters()) == 61_706


def test_layers_are_described_without_building_the_network():
    description = describe_layers(LeNet5(), (3, 32, 40), 10)
    result = shapes(LeNet5().build((3, 32, 40), 10), torch.zeros(1, 3, 32, 40))
    assert description.shapes == {name: result[name] for name in ("c1", "s2", "c3", "s4")}
    assert description.default_layer == "c3"


def test_images_that_leave_no_map_are_refused():
    assert LeNet5().build((1, 12, 12), 2)(torch.zeros(1, 1, 12, 12)).shape == (1, 2)
    with pytest.raises(ValueError, match="at least 12 x 12"):
        LeNet5().build((1, 11, 12), 2)


@pytest.mark.parametrize("method", PAPER_METHODS)
@pytest.mark.parametrize("layer", ["c1", "s2", "c3", "s4"])
@pytest.mark.parametrize("pooling", ["average", "max"])
def test_maps_equal_captum(images, captum_maps, pooling, layer, method):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = LeNet5(pooling=pooling).build((1, 28, 28), 10).eval()
    ours = class_maps(network, images, layer, [method]).signed[method]
    theirs = captum_maps(network, images, layer, method)
    assert_within_errors(ours, theirs, RELATIVE_ERROR * np.abs(theirs).max((-2, -1)))


def test_trained_network_learns_and_round_trips_as_a_checkpoint(few_digits, images):
    spec = RunSpec.model_validate(
        {
            "dataset": "digits",
            "architecture": {"name": "lenet5"},
            "optimizer": {"name": "adam", "learning_rate": 5e-3},
            "epochs": 4,
            "samples_per_epoch": 240,
            "batch_size": 20,
        }
    )
    untrained, *_, last = train(spec, few_digits)
    assert last.test_loss < untrained.test_loss - 0.5
    data = checkpoints.encode(last.network, CheckpointHeader.for_epoch(spec, 4))
    decoded, header = checkpoints.decode(data)
    assert header.architecture == spec.architecture
    assert torch.allclose(decoded(images), last.network.eval()(images), atol=1e-6)
