"""How a score mixes the units' maps: the Jacobian of softmax, in digits that float32 can keep."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from service.core.cams.cut import Cut
from service.core.cams.gradcam import class_score, unit


def units_within(limit: float) -> st.SearchStrategy[torch.Tensor]:
    """Units x (N, C), float32."""
    values = st.floats(-limit, limit, width=32)
    shapes = array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6)
    return arrays("float32", shapes, elements=values).map(torch.from_numpy)


def cut_with(units: torch.Tensor, output_activation: str) -> Cut:
    nothing = torch.zeros(0)
    logits = units.sigmoid() if output_activation == "sigmoid" else units
    return Cut(nothing, units, nothing, logits, output_activation)


@settings(deadline=None, max_examples=60)
@given(units=units_within(80), output=st.sampled_from(["identity", "sigmoid"]))
def test_what_one_class_gains_the_others_lose(units, output):
    # The probabilities' sum is 1 whatever the units are, so each column of M sums to 0.
    mixing = class_score(cut_with(units, output))
    gains = mixing.diagonal(dim1=1, dim2=2)
    assert (gains >= 0).all()
    assert (mixing - torch.diag_embed(gains) <= 0).all()
    assert (mixing.sum(1).abs() <= 1e-5 * gains + 1e-37).all()


@settings(deadline=None, max_examples=60)
@given(units=units_within(80))
def test_raising_all_units_alike_changes_no_score(units):
    # Softmax looks at differences alone: without an output sigmoid each row of M sums to 0 too.
    mixing = class_score(cut_with(units, "identity"))
    gains = mixing.diagonal(dim1=1, dim2=2)
    assert (mixing.sum(2).abs() <= 1e-5 * gains + 1e-37).all()
    assert torch.equal(mixing, mixing.transpose(1, 2))


@settings(deadline=None, max_examples=60)
@given(units=units_within(6), output=st.sampled_from(["identity", "sigmoid"]))
def test_the_mixing_is_autograds_jacobian(units, output):
    # Within +-6, so that float64 autograd itself keeps its digits.
    def score(x: torch.Tensor) -> torch.Tensor:
        return (x.sigmoid() if output == "sigmoid" else x).softmax(0)

    ours = class_score(cut_with(units, output))
    for one, x in zip(ours, units.double(), strict=True):
        theirs = torch.autograd.functional.jacobian(score, x)
        assert torch.allclose(one.double(), theirs, rtol=1e-5, atol=1e-9)


def test_the_unit_itself_mixes_nothing():
    assert unit(cut_with(torch.zeros(1, 3), "identity")) is None
