"""The gradient of the paper's head in closed form equals autograd's."""

import pytest
import torch
from torch import nn

from service.core.cams.closed_form import FEW_ROWS, ClosedHead, ClosedPass
from service.core.cams.head_gradients import GRADIENT_CHUNK_BYTES, AutogradBackend
from service.core.models.stages import StagedSplit

IMAGES, CHANNELS, HIDDEN, CLASSES = 3, 5, 7, 4


def head(pooling: list[nn.Module], size: tuple[int, int], *, activation: nn.Module) -> list:
    torch.manual_seed(1)
    pooled = torch.zeros(1, CHANNELS, *size)
    for stage in pooling:
        pooled = stage(pooled)
    return [
        *pooling,
        nn.Flatten(),
        nn.Linear(pooled.numel(), HIDDEN),
        activation,
        nn.Dropout(0.5).eval(),
        nn.Linear(HIDDEN, CLASSES),
    ]


def activations(size: tuple[int, int]) -> torch.Tensor:
    # Half of the positions are 0, as after ReLU, so that pooling windows have ties.
    return torch.randn(IMAGES, CHANNELS, *size, generator=torch.Generator().manual_seed(2)).relu()


def assert_forms_agree(stages: list, signal: torch.Tensor) -> None:
    head = ClosedHead.match(stages)
    assert head is not None, "the head has a closed form"
    with torch.no_grad():
        closed_pass = ClosedPass(head, signal)
        units, weights = (
            closed_pass.pre_activations,
            closed_pass.position_sums() / signal[0, 0].numel(),
        )
    by_autograd = AutogradBackend(StagedSplit([], stages, "identity")).run(
        signal, None, GRADIENT_CHUNK_BYTES
    )
    their_units, their_weights = by_autograd.pre_activations, by_autograd.channel_weights
    assert weights.shape == (IMAGES, CLASSES, CHANNELS)
    assert torch.allclose(units, their_units, atol=1e-6)
    assert (weights - their_weights).abs().max() <= 1e-5 * their_weights.abs().max()


@pytest.mark.parametrize("activation", [nn.Sigmoid(), nn.ReLU(), nn.Tanh()], ids=str)
@pytest.mark.parametrize("size", [(6, 6), (7, 7), (5, 8), (2, 3)], ids=str)
@pytest.mark.parametrize("pooling", [[nn.MaxPool2d(2)], [nn.AvgPool2d(2)], []], ids=str)
def test_closed_form_equals_autograd(pooling, size, activation):
    assert_forms_agree(head(pooling, size, activation=activation), activations(size))


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(3),
        nn.MaxPool2d((2, 3)),
        nn.AvgPool2d((3, 2)),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.AvgPool2d(2, ceil_mode=True),
    ],
    ids=str,
)
def test_closed_form_supports_poolings_without_overlapping_windows(pool):
    assert_forms_agree(head([pool], (7, 8), activation=nn.Sigmoid()), activations((7, 8)))


@pytest.mark.parametrize(
    "pooling",
    [
        [nn.MaxPool2d(3, stride=2)],
        [nn.AvgPool2d(3, stride=1)],
        [nn.MaxPool2d(1, stride=2)],
        [nn.MaxPool2d(2, padding=1)],
        [nn.AvgPool2d(2, padding=1)],
        [nn.MaxPool2d(2, dilation=2)],
        [nn.AvgPool2d(2, divisor_override=3)],
        [nn.MaxPool2d(2), nn.AvgPool2d(2)],
        [nn.Conv2d(CHANNELS, CHANNELS, 2)],
        [nn.ReLU()],
    ],
    ids=str,
)
def test_head_with_another_pooling_has_no_closed_form(pooling):
    stages = head(pooling, (8, 8), activation=nn.Sigmoid())
    assert ClosedHead.match(stages) is None


@pytest.mark.parametrize(
    "above",
    [
        [nn.Linear(HIDDEN, CLASSES)],
        [nn.GELU(), nn.Linear(HIDDEN, CLASSES)],
        [nn.Sigmoid(), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, CLASSES)],
        [nn.BatchNorm1d(HIDDEN).eval(), nn.Sigmoid(), nn.Linear(HIDDEN, CLASSES)],
        [nn.Sigmoid(), nn.Linear(HIDDEN, CLASSES), nn.Sigmoid()],
        [nn.Sigmoid()],
    ],
    ids=lambda stages: "-".join(type(stage).__name__ for stage in stages),
)
def test_head_with_other_layers_has_no_closed_form(above):
    stages = [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(CHANNELS * 9, HIDDEN), *above]
    assert ClosedHead.match(stages) is None


@pytest.mark.parametrize("images", [1, FEW_ROWS, FEW_ROWS + 1])
@pytest.mark.parametrize("units", [6, 8, 48], ids="{} hidden units".format)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_closed_pass_has_the_output_of_the_stages(images, units, bias):
    torch.manual_seed(3)
    stages = [nn.Flatten(), nn.Linear(5 * 9, units, bias), nn.Tanh(), nn.Linear(units, CLASSES)]
    signal = torch.randn(images, 5, 3, 3)
    with torch.no_grad():
        outputs = ClosedPass(ClosedHead.match(stages), signal).pre_activations
        assert torch.allclose(outputs, nn.Sequential(*stages)(signal), atol=1e-6)


@pytest.mark.parametrize("trainable", [True, False], ids=["trainable", "frozen"])
def test_weights_written_to_between_two_passes_count(trainable):
    stages = head([nn.MaxPool2d(2)], (6, 6), activation=nn.Sigmoid())
    hidden, signal = stages[2].requires_grad_(trainable), activations((6, 6))
    closed_head = ClosedHead.match(stages)

    def position_sums(head: ClosedHead) -> torch.Tensor:
        with torch.no_grad():
            return ClosedPass(head, signal).position_sums()

    before = position_sums(closed_head)
    with torch.no_grad():
        hidden.weight.mul_(2)
    after_write = position_sums(closed_head)
    assert torch.equal(after_write, position_sums(ClosedHead.match(stages)))
    assert not torch.equal(after_write, before)
    hidden.weight = nn.Parameter(hidden.weight.detach() / 2, requires_grad=trainable)
    assert torch.equal(position_sums(closed_head), before)
