"""Measures over epochs, on maps and outputs worked out by hand."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from service.core.cams.targets import Outputs
from service.core.insight.measures import (
    EPOCH_MEASURES,
    class_mean_drift,
    dead_unit_share,
    evidence_margin,
    on_object_share,
    saturated_share,
    untrained_similarity,
)
from service.core.insight.network_sample import EpochView, NetworkSample
from service.core.models.stages import Convolution, StagedNetwork


def view(**parts: Any) -> EpochView:
    return cast("EpochView", SimpleNamespace(**parts))


def test_on_object_share_by_hand() -> None:
    maps = torch.tensor([[[3.0, 1.0]], [[1.0, 1.0]], [[0.0, 5.0]]])
    masks = torch.tensor([[[True, False]], [[True, False]], [[True, False]]])
    sample = SimpleNamespace(masks=masks)
    # 0.75 and 0.5; the third map is blank.
    visible = np.array([True, True, False])
    assert on_object_share(
        view(sample=sample, is_visible=visible, own_maps_on_pixels=maps)
    ) == pytest.approx(0.625)
    without = SimpleNamespace(masks=masks & False)
    assert on_object_share(view(sample=without, is_visible=visible)) is None


def test_evidence_margin_by_hand() -> None:
    own_maps = np.array([[[3.0, -9.0]], [[1.0, 0.0]], [[-1.0, 0.0]]], np.float32)
    rival_maps = np.array([[[1.0, 0.0]], [[3.0, 0.0]], [[-2.0, 0.0]]], np.float32)
    # (3 - 1) / 4 and (1 - 3) / 4; the third image has no evidence.
    assert evidence_margin(view(own_maps=own_maps, rival_maps=rival_maps)) == pytest.approx(0.0)
    view_of_one = view(own_maps=own_maps[:1], rival_maps=rival_maps[:1])
    assert evidence_margin(view_of_one) == pytest.approx(0.5)


def test_drift_and_similarity_leave_blank_classes_out() -> None:
    current_means = np.array([[[1.0, 2.0, 3.0]], [[np.nan] * 3]], np.float32)
    previous_means = np.array([[[3.0, 2.0, 1.0]], [[1.0, 2.0, 3.0]]], np.float32)
    parts = {
        "class_means": current_means,
        "previous_class_means": previous_means,
        "untrained_class_means": previous_means,
    }
    assert class_mean_drift(view(**parts)) == pytest.approx(2.0)
    assert untrained_similarity(view(**parts)) == pytest.approx(-1.0)
    first = view(class_means=current_means, previous_class_means=None, untrained_class_means=None)
    assert class_mean_drift(first) is None
    assert untrained_similarity(first) is None


def test_saturation_and_dead_units_by_hand() -> None:
    network = StagedNetwork(
        {
            "conv": Convolution(1, 4, 1),
            "flatten": nn.Flatten(),
            "output": nn.Linear(16, 2),
        }
    ).eval()
    with torch.no_grad():
        convolution = cast("Convolution", network.conv)
        convolution.weight.fill_(1.0)
        # Two of four channels are negative for any image of levels up to 1.
        convolution.bias = nn.Parameter(torch.tensor([0.0, 1.0, -5.0, -6.0]))
    images = torch.rand(6, 1, 2, 2)
    sample = NetworkSample(
        images, torch.zeros(6, dtype=torch.int64), torch.zeros(6, 2, 2) > 0, (0, 1), None
    )
    epoch = EpochView(network, sample)
    assert dead_unit_share(epoch) == 0.5
    assert saturated_share(epoch) == 0
    # p = 1 / (1 + e^-20), so its derivative is 2e-9.
    certain = Outputs(torch.tensor([[20.0, 0.0]] * 3 + [[1.0, 0.0]] * 3), "identity")
    fresh = EpochView(network, sample)
    fresh.__dict__["outputs"] = certain
    assert saturated_share(fresh) == 0.5


def test_measures_have_unique_names_and_ranges() -> None:
    names = [measure.name for measure in EPOCH_MEASURES]
    assert len(set(names)) == len(names)
    assert all(measure.range[0] < measure.range[1] for measure in EPOCH_MEASURES)
