"""Networks as named stages: separate for hooks in evaluation, fused in training."""

import pytest
import torch
from torch import nn

from service.core.models.stages import Convolution, StagedNetwork
from service.errors import UnknownName


def test_every_stage_calls_its_hooks_in_evaluation_mode(untrained, images):
    network = untrained()
    result = {}
    for name, stage in network.named_children():
        stage.register_forward_hook(
            lambda _stage, _inputs, output, name=name: result.update({name: output.shape})
        )
    units = network(images)
    assert list(result) == [name for name, _ in network.named_children()]
    assert result["conv1"] == (3, 4, 26, 26)
    assert result["conv2"] == (3, 6, 24, 24)
    assert result["pool"] == (3, 6, 12, 12)
    assert result["output"] == units.shape


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_fused_relu_and_pooling_are_bit_identical_in_training(
    untrained, digits, kernel_size, memory_format
):
    pixels = digits.train.images[:20].float().div(255).contiguous(memory_format=memory_format)
    labels = digits.train.labels[:20]
    results = []
    for fused in (True, False):
        network = untrained(kernel_size=kernel_size, dropout=0.0).to(memory_format=memory_format)
        network.train()
        images = pixels.clone(memory_format=torch.preserve_format).requires_grad_()
        units = network(images) if fused else nn.Sequential.forward(network, images)
        nn.functional.cross_entropy(units, labels).backward()
        results.append([units, images.grad, *(weight.grad for weight in network.parameters())])
    for ours, theirs in zip(*results, strict=True):
        assert theirs.abs().max() > 0
        assert torch.equal(ours, theirs)


def test_training_fuses_only_before_max_pooling():
    torch.manual_seed(0)
    stages = {
        "first": Convolution(1, 8, 3),
        "average": nn.AvgPool2d(2),
        "second": Convolution(8, 8, 3),
        "maximum": nn.MaxPool2d(2),
        "third": Convolution(8, 8, 3),
    }
    network = StagedNetwork(stages).train()
    images = torch.randn(2, 1, 20, 20)
    theirs = images
    for stage in stages.values():
        theirs = stage(theirs)
    assert theirs.min() == 0
    assert theirs.max() > 0
    assert torch.equal(network(images), theirs)


def test_layers_are_the_stages_with_positions(untrained):
    assert untrained().layers == ["conv1", "conv2", "pool"]
    assert untrained().last_convolution == "conv2"


def test_split_has_the_layer_in_its_lower_part(untrained):
    network = untrained()
    below, head = network.split_at("conv2")
    assert list(below) == [network.conv1, network.conv2]
    assert next(iter(head)) is network.pool
    assert [*below, *head] == list(network)


def test_split_at_an_unknown_layer_is_refused(untrained):
    with pytest.raises(UnknownName, match="one of conv1, conv2, pool"):
        untrained().split_at("dropout")


@pytest.mark.parametrize("activation", ["identity", "sigmoid"])
def test_logits_are_the_output_activation_of_the_units(untrained, images, activation):
    network = untrained(output_activation=activation)
    units = network(images)
    expected = 1 / (1 + torch.exp(-units)) if activation == "sigmoid" else units
    assert torch.allclose(network.logits(units), expected)
