"""The opset is a closed list of operators of ATen that compute, and do nothing else."""

import pytest
import torch
from camreel.program.lowering import LOWERINGS
from camreel.program.opset import OPERATORS
from camreel.program.overloads import FIRST_RESULTS, PASS_THROUGH, VIEWS
from camreel.program.sequences import SEQUENCES


def overload_of(name):
    packet, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_operator_names_an_overload_of_this_version_of_torch(operator):
    overload = overload_of(operator.overload)
    assert isinstance(overload, torch._ops.OpOverload)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_operator_neither_writes_nor_draws_random_numbers(operator):
    overload = overload_of(operator.overload)
    assert not overload._schema.is_mutable
    # Attention draws random numbers for dropout only, which the operator does not have.
    if operator.name != "scaled_dot_product_attention":
        assert torch.Tag.nondeterministic_seeded not in overload.tags
    # What takes no tensor makes its result from nothing: from a size, or from a file.
    tensors = [a for a in overload._schema.arguments if "Tensor" in str(a.type)]
    assert tensors


@pytest.mark.parametrize(
    "name", sorted({*LOWERINGS, *FIRST_RESULTS, *PASS_THROUGH, *VIEWS, *SEQUENCES})
)
def test_exported_overload_exists_in_this_version_of_torch(name):
    assert isinstance(overload_of(name), torch._ops.OpOverload)


def test_every_operator_is_the_target_of_an_overload():
    """No operator is accepted that the exporter never writes."""
    assert {operator.overload for operator in OPERATORS.values()} <= set(LOWERINGS)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_defaults_are_valid_arguments(operator):
    for parameter in operator.parameters:
        if not parameter.is_required:
            parameter.type.check(parameter.default)
