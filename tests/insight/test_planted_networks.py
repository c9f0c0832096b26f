"""Networks that are trained on planted data: the shortcut benchmark in small.

The images are the embedded digits, placed into larger ones so that they have surroundings.
"""

from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it

from benchmarks.shortcuts import wilson_interval
from service.core.datasets import digits
from service.core.datasets.dataset import Dataset, Split
from service.core.datasets.planted import plant_dataset
from service.core.datasets.plants import Plant
from service.core.insight.exchange import pixel_network
from service.core.insight.finding import Finding, Severity
from service.core.insight.samples import sample_training_images
from service.core.insight.shortcuts import examine_exchanges, find_shortcuts
from service.core.models.stages import require_staged
from service.core.spec import RunSpec
from service.core.training import train

SPEC = RunSpec.model_validate(
    {
        "dataset": "mnist",
        "epochs": 2,
        "samples_per_epoch": 1500,
        "architecture": {
            "name": "table1",
            "channels": [4, 8],
            "hidden_units": 32,
            "hidden_activation": "relu",
            "dropout": 0.0,
        },
    }
)


@cache
def small_digits() -> Dataset:
    """UCI's digits, 14 x 14 pixels in the middle of black images of 28 x 28."""
    data = digits.load(Path(), False)
    splits = [
        Split(
            F.pad(F.interpolate(split.images.float(), size=14, mode="area"), (7, 7, 7, 7))
            .round()
            .to(torch.uint8),
            split.labels,
        )
        for split in (data.train, data.test)
    ]
    return Dataset(data.name, data.class_names, *splits)


def findings_of(data: Dataset) -> list[Finding]:
    *_, result = train(SPEC, data)
    network = require_staged(result.network.eval())
    sample = sample_training_images(data, seed=0)
    test = examine_exchanges(
        pixel_network(network, SPEC.input),
        sample.images,
        sample.labels,
        10,
        epoch=2,
        with_map=False,
    )
    assert test.gap is None
    return [item for item in find_shortcuts([test]) if isinstance(item, Finding)]


@pytest.mark.parametrize(
    ("kind", "attribute"), [("corner-patch", "surround"), ("gray-level", "level")]
)
def test_planted_shortcut_is_found_with_its_class(kind, attribute):
    plant = Plant(kind=kind, class_index=4)
    findings = [
        finding
        for finding in findings_of(plant_dataset(small_digits(), plant))
        if finding.kind == "shortcut-surround"
    ]
    assert {finding.class_indices for finding in findings} == {(4,)}
    (finding,) = [finding for finding in findings if finding.attribute == attribute]
    assert finding.severity is Severity.CHANGES_PREDICTIONS
    if attribute == "surround":
        region = finding.region
        assert region.top + region.height <= 6
        assert region.left + region.width <= 6


def test_clean_network_is_accused_of_no_surroundings():
    findings = findings_of(small_digits())
    assert [item for item in findings if item.kind == "shortcut-surround"] == []


def test_wilson_intervals_equal_published_ones():
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
