"""Where a layer's positions lie on the image: the centers of their receptive fields."""

import numpy as np
import pytest
import torch
from torch import nn

from service.core.models import Placement, describe_layers
from service.core.models.placement import compute_placement, output_shape
from service.core.models.stages import Convolution
from service.core.models.table1 import Table1


def conv(kernel: int, **options: int) -> nn.Conv2d:
    return nn.Conv2d(1, 1, kernel, **options)


def receptive_field_centers(stages: list[nn.Module], pixels: int) -> list[float]:
    """The center of the pixels that each position of the first row depends on, from gradients."""
    image = torch.rand(1, 1, pixels, pixels, dtype=torch.float64, requires_grad=True)
    signal = image
    for stage in stages:
        if isinstance(stage, nn.Conv2d):
            stage = conv(stage.kernel_size[0], stride=stage.stride[0], dilation=stage.dilation[0])
            nn.init.ones_(stage.weight.data)
        elif isinstance(stage, nn.MaxPool2d):  # an average depends on all pixels of the window
            stage = nn.AvgPool2d(stage.kernel_size, stage.stride)
        signal = stage.double()(signal)
    result = []
    for unit in signal[0, 0, 0]:
        (gradient,) = torch.autograd.grad(unit, image, retain_graph=True)
        columns = gradient[0, 0].abs().sum(0).nonzero()
        result.append((columns.min().item() + columns.max().item()) / 2)
    return result


@pytest.mark.parametrize(
    "stages",
    [
        [conv(3)],
        [conv(3), conv(3)],
        [conv(3), conv(3), nn.MaxPool2d(2)],
        [conv(5, stride=2), nn.MaxPool2d(3, stride=2), conv(3)],
        [conv(3, dilation=2), nn.AvgPool2d(2), conv(2)],
        [conv(1)],
    ],
    ids=lambda stages: f"{len(stages)} stages",
)
def test_positions_are_the_centers_of_receptive_fields(stages):
    theirs = receptive_field_centers(stages, 30)
    ours = compute_placement(stages)
    assert len(theirs) > 1
    assert [ours.first_center + ours.step * i for i in range(len(theirs))] == theirs


@pytest.mark.parametrize(
    "stage",
    [
        nn.Conv2d(2, 5, 3),
        nn.Conv2d(2, 5, 5, stride=2, padding=2),
        nn.Conv2d(2, 5, 3, dilation=3),
        Convolution(2, 4, 3, padding=1),
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.AvgPool2d(3),
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(28, 28), (27, 30)])
def test_output_shape_is_that_of_the_stage(stage, size):
    assert output_shape(stage, (2, *size)) == tuple(stage(torch.rand(1, 2, *size)).shape[1:])


def test_padding_shifts_the_positions_outwards():
    assert compute_placement([conv(3, padding=1)]) == Placement(0, 1)
    assert compute_placement(
        [conv(3, padding=1), nn.MaxPool2d(2), conv(3, padding=1)]
    ) == Placement(0.5, 2)


def test_placements_of_the_papers_layers():
    placements = describe_layers(Table1(), (1, 28, 28), 10).placements
    assert placements == {
        "conv1": Placement(1, 1),
        "conv2": Placement(2, 1),
        "pool": Placement(2.5, 2),
    }


def test_samples_are_interpolated_between_positions():
    # 24 positions on 28 pixels, rendered at 28: sample i is pixel i, and position i - 2.
    positions = Placement(2, 1).positions(24, 28, 28)
    assert positions.tolist() == [-1, -1, *range(24), 24, 24]
    # At twice the size samples lie a quarter of a pixel to either side of each center.
    assert np.allclose(Placement(2, 1).positions(24, 28, 56)[4:8], [-0.25, 0.25, 0.75, 1.25])
    # The pooled layer: position 0 at pixel 2.5, position 1 at 4.5.
    assert np.allclose(Placement(2.5, 2).positions(12, 28, 28)[2:6], [-0.25, 0.25, 0.75, 1.25])


@pytest.mark.parametrize("stage", [nn.Flatten(), nn.Linear(2, 2), nn.AdaptiveAvgPool2d(1)], ids=str)
def test_stage_without_known_geometry_is_refused(stage):
    with pytest.raises(TypeError, match=type(stage).__name__):
        compute_placement([conv(3), stage])


@pytest.mark.parametrize(
    "stage",
    [nn.Conv2d(1, 1, (3, 5)), nn.MaxPool2d(2, stride=(2, 1)), nn.Conv2d(1, 1, 3, padding="same")],
    ids=str,
)
def test_stage_whose_axes_differ_is_refused(stage):
    with pytest.raises(ValueError, match="not the same on both axes"):
        compute_placement([stage])


@pytest.mark.parametrize("layer", ["conv1", "conv2", "pool"])
def test_positions_activated_by_one_pixel_are_centered_on_it(layer):
    # With kernels of ones, the positions that one bright pixel activates are centered on it.
    network = nn.ModuleDict(
        {"conv1": Convolution(1, 1, 3), "conv2": Convolution(1, 1, 3), "pool": nn.AvgPool2d(2)}
    )
    for name in ("conv1", "conv2"):
        nn.init.ones_(network[name].weight)
        nn.init.zeros_(network[name].bias)
    signal = torch.zeros(1, 1, 28, 28)
    signal[0, 0, 9, 14] = 1
    below = []
    for name, stage in network.items():
        below.append(stage)
        signal = stage(signal)
        if name == layer:
            break
    placement = compute_placement(below)
    weights = signal[0, 0].detach().numpy()
    centers = placement.first_center + placement.step * np.arange(len(weights))
    assert (weights.sum(1) * centers).sum() / weights.sum() == pytest.approx(9, abs=0.5)
    assert (weights.sum(0) * centers).sum() / weights.sum() == pytest.approx(14, abs=0.5)
