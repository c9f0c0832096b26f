"""Maps of a network and of its twin that adds one number to all pre-activations of an image.

Both have the same probabilities for every image. Lerma and Lucas, arXiv 2307.03305.
"""

import numpy as np
import pytest
import torch
from camreel.program import export_program
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from service.core.cams.layer_pass import NetworkSplit
from service.core.cams.maps import class_maps
from service.core.cams.methods import METHODS, RECOMMENDED
from service.core.cams.targets import TARGETS, Outputs, parse_target
from service.core.models.program_network import ProgramClassifier

SHIFT = 10.0
CLASSES = [0, 2]
LAYER = "features"
TARGET_NAMES = [*(name for name in TARGETS if name != "contrast"), "contrast:1"]
METHOD_NAMES = ["grad-cam", "hires-cam", "layer-cam", "layer-integrated-gradients"]


class Classifier(nn.Module):
    """x_c, plus shift * sum_k A^k(0, 0) for every class c."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 5, 3, stride=2), nn.ReLU())
        self.output = nn.Linear(5, 4)
        self.shift = shift

    def forward(self, images):
        activations = self.features(images)
        pre_activations = self.output(activations.mean((2, 3)))
        return pre_activations + self.shift * activations[:, :, 0, 0].sum(1, keepdim=True)


def classifier(shift):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        module = Classifier(shift).eval()
    export = export_program(module, torch.zeros(1, 1, 13, 13))
    return ProgramClassifier(export.program, export.tensors(module))


@pytest.fixture(scope="module")
def network():
    return classifier(0.0)


@pytest.fixture(scope="module")
def twin():
    return classifier(SHIFT)


@pytest.fixture(scope="module")
def inputs():
    return torch.rand(3, 1, 13, 13, generator=torch.Generator().manual_seed(1)) + 0.2


def test_probabilities_are_the_same_although_the_pre_activations_differ(network, twin, inputs):
    units, shifted_units = network(inputs), twin(inputs)
    shifts = SHIFT * NetworkSplit.at(network, LAYER).run(inputs).activations[:, :, 0, 0].sum(1)
    assert shifts.min() > 1
    assert torch.allclose(shifted_units - units, shifts.unsqueeze(1).expand_as(units), atol=1e-4)
    assert torch.allclose(units.softmax(1), shifted_units.softmax(1), atol=1e-5)


@pytest.mark.parametrize("method", METHOD_NAMES)
@pytest.mark.parametrize("target", TARGET_NAMES)
def test_map_changes_unless_its_target_is_shift_invariant(network, twin, inputs, method, target):
    spec = f"{method}/{target}"
    maps, shifted_maps = (
        class_maps(member, inputs, LAYER, [spec], CLASSES).signed[spec]
        for member in (network, twin)
    )
    peak = np.abs(maps).max()
    difference = np.abs(shifted_maps - maps).max()
    assert peak > 0
    if parse_target(target).is_shift_invariant:
        assert difference <= 1e-4 * peak
    else:
        assert difference > 0.5 * peak


@settings(deadline=None, max_examples=50)
@given(
    units=st.lists(st.floats(-20, 20, width=32), min_size=4, max_size=4, unique=True),
    shift=st.floats(-20, 20, width=32),
)
@pytest.mark.parametrize("name", TARGET_NAMES)
def test_score_depends_on_a_shift_of_all_pre_activations_unless_invariant(name, units, shift):
    target = parse_target(name)
    pre_activations = torch.tensor([units], dtype=torch.float64)
    scores, shifted_scores = (
        target.scores(Outputs(x, "identity")) for x in (pre_activations, pre_activations + shift)
    )
    expected = scores if target.is_shift_invariant else scores + shift
    assert torch.allclose(shifted_scores, expected, atol=1e-9)


def test_recommended_method_has_a_shift_invariant_default():
    assert TARGETS[METHODS[RECOMMENDED].targets[0]].is_shift_invariant
