"""Score Jacobians, which combine the units' maps, without loss of precision in float32."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from service.core.cams.targets import TARGETS, Outputs, parse_target, softmax_jacobian
from service.errors import InvalidValue


def units_within(limit: float) -> st.SearchStrategy[torch.Tensor]:
    """Units x (N, C), float32."""
    values = st.floats(-limit, limit, width=32)
    shapes = array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6)
    return arrays("float32", shapes, elements=values).map(torch.from_numpy)


@settings(deadline=None, max_examples=60)
@given(units=units_within(80), output=st.sampled_from(["identity", "sigmoid"]))
def test_columns_of_the_softmax_jacobian_sum_to_0(units, output):
    # The probabilities always sum to 1, so each column of M sums to 0.
    jacobian = softmax_jacobian(Outputs(units, output))
    gains = jacobian.diagonal(dim1=1, dim2=2)
    assert (gains >= 0).all()
    assert (jacobian - torch.diag_embed(gains) <= 0).all()
    assert (jacobian.sum(1).abs() <= 1e-5 * gains + 1e-37).all()


@settings(deadline=None, max_examples=60)
@given(units=units_within(80))
def test_rows_of_the_softmax_jacobian_sum_to_0(units):
    # Softmax depends on differences only: without an output sigmoid each row of M sums to 0 too.
    jacobian = softmax_jacobian(Outputs(units, "identity"))
    gains = jacobian.diagonal(dim1=1, dim2=2)
    assert (jacobian.sum(2).abs() <= 1e-5 * gains + 1e-37).all()
    assert torch.equal(jacobian, jacobian.transpose(1, 2))


@settings(deadline=None, max_examples=40)
@given(units=units_within(6), output=st.sampled_from(["identity", "sigmoid"]))
@pytest.mark.parametrize("name", [*(n for n in TARGETS if n != "contrast"), "contrast:1"])
def test_score_jacobian_equals_autograd(name, units, output):
    # Within +-6, where float64 autograd keeps its precision.
    target = parse_target(name)
    if name == "margin":  # not differentiable if two other classes are equally strong
        units = units + 0.01 * torch.arange(units.shape[1])
        assume(all(len(set(x.tolist())) == len(x) for x in units))
    ours = target.score_jacobian(Outputs(units, output))
    if ours is None:
        ours = torch.eye(units.shape[1]).expand(len(units), -1, -1)
    for jacobian, x in zip(ours, units.double(), strict=True):
        theirs = torch.autograd.functional.jacobian(
            lambda x: target.scores(Outputs(x.unsqueeze(0), output))[0], x
        )
        assert torch.allclose(jacobian.double(), theirs, rtol=1e-5, atol=1e-7)


def test_log_softmax_keeps_its_precision_if_the_probability_rounds_to_1():
    units = torch.tensor([[30.0, 0.0, -1.0]])
    remaining_probability = (units.double().exp()[0, 1:].sum() / units.double().exp().sum()).item()
    gain = TARGETS["log-softmax"].score_jacobian(Outputs(units, "identity"))[0, 0, 0].item()
    assert gain == pytest.approx(remaining_probability, rel=1e-5)
    assert 0 < gain < 1e-12


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("sofmax", "target"),
        ("unit:3", "target"),
        ("contrast", "contrast_class"),
        ("contrast:x", "contrast_class"),
    ],
)
def test_invalid_target_is_refused(text, field):
    with pytest.raises(InvalidValue) as refusal:
        parse_target(text)
    assert refusal.value.field == field


def test_score_jacobian_of_the_unit_is_none():
    assert TARGETS["unit"].score_jacobian(Outputs(torch.zeros(1, 3), "identity")) is None
