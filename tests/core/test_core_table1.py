"""The paper's network has the shapes of its Table 1."""

import pytest
import torch
from torch import nn

from service.core.models import describe_layers
from service.core.models.table1 import Table1


def test_network_has_the_shapes_of_table_1():
    network = Table1().build((1, 28, 28), 10)
    signal, shapes = torch.zeros(1, 1, 28, 28), {}
    for name, stage in network.named_children():
        signal = stage(signal)
        shapes[name] = tuple(signal.shape[1:])
    assert shapes == {
        "conv1": (32, 26, 26),
        "conv2": (64, 24, 24),
        "pool": (64, 12, 12),
        "flatten": (9216,),
        "hidden": (128,),
        "activation": (128,),
        "dropout": (128,),
        "output": (10,),
    }
    assert sum(weight.numel() for weight in network.parameters()) == 1_199_882
    assert isinstance(network.activation, nn.Sigmoid)
    assert network.dropout.p == 0.5
    assert network.output_activation == "identity"


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7, 13])
def test_layers_are_described_without_building_the_network(kernel_size):
    architecture = Table1(kernel_size=kernel_size, channels=[3, 5])
    description = describe_layers(architecture, (1, 28, 28), 10)
    network = architecture.build((1, 28, 28), 10)
    signal, result = torch.zeros(1, 1, 28, 28), {}
    for name in network.layers:
        signal = network.get_submodule(name)(signal)
        result[name] = tuple(signal.shape[1:])
    assert description.shapes == result
    assert description.default_layer == "conv2"


def test_images_of_any_depth_and_size_are_accepted():
    network = Table1(channels=[2, 3], hidden_units=4).build((3, 17, 20), 7)
    assert network(torch.zeros(2, 3, 17, 20)).shape == (2, 7)


def test_kernels_larger_than_the_input_are_refused():
    with pytest.raises(ValueError, match="kernel_size"):
        Table1(kernel_size=13).build((1, 25, 28), 10)
