"""Loss and accuracy of a network on a split, computed by hand."""

import math

import pytest
import torch
from torch import nn

from service.core.datasets.dataset import Split
from service.core.models.stages import StagedNetwork
from service.core.training import evaluate_network

# The logits of an image are its two pixels: (1, 0) if the first is bright, (0, 1) if the second.
FIRST, SECOND = [[[255, 0]]], [[[0, 255]]]
RIGHT, WRONG = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))


@pytest.fixture
def network() -> StagedNetwork:
    staged = StagedNetwork({"flatten": nn.Flatten(), "output": nn.Linear(2, 2)})
    staged.load_state_dict({"output.weight": torch.eye(2), "output.bias": torch.zeros(2)})
    return staged


def split(*labeled: tuple[list, int]) -> Split:
    images, labels = zip(*labeled, strict=True)
    return Split(torch.tensor(images, dtype=torch.uint8), torch.tensor(labels))


def test_mean_loss_and_accuracy(network):
    score = evaluate_network(network, split((FIRST, 0), (SECOND, 1), (SECOND, 1), (FIRST, 1)), 2)
    assert score.loss == pytest.approx((3 * RIGHT + WRONG) / 4)
    assert score.accuracy == 0.75
    assert score.per_class_accuracy == pytest.approx([1, 2 / 3])


def test_batches_are_weighted_by_their_size(network):
    # 150 images are a batch of 100, all correct, and one of 50, all incorrect.
    score = evaluate_network(network, split(*[(FIRST, 0)] * 100, *[(FIRST, 1)] * 50), 2)
    assert score.loss == pytest.approx((100 * RIGHT + 50 * WRONG) / 150)
    assert score.accuracy == pytest.approx(2 / 3)
    assert score.per_class_accuracy == [1, 0]


def test_class_without_images_has_accuracy_0(network):
    score = evaluate_network(network, split((FIRST, 0)), 2)
    assert score.per_class_accuracy == [1, 0]
    assert score.accuracy == 1


def test_output_sigmoid_is_applied_before_softmax(network):
    network.output_activation = "sigmoid"
    bright, dark = 1 / (1 + math.exp(-1)), 1 / 2
    score = evaluate_network(network, split((FIRST, 0)), 2)
    assert score.loss == pytest.approx(math.log(1 + math.exp(dark - bright)))


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_disabled_and_the_mode_of_the_network_is_preserved(training):
    torch.manual_seed(0)
    network = StagedNetwork(
        {"flatten": nn.Flatten(), "dropout": nn.Dropout(0.9), "output": nn.Linear(2, 2)}
    )
    network.load_state_dict({"output.weight": torch.eye(2), "output.bias": torch.zeros(2)})
    network.train(training)
    assert evaluate_network(network, split(*[(FIRST, 0)] * 30), 2).loss == pytest.approx(RIGHT)
    assert network.training is training
