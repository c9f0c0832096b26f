"""What decides the bits of a training is known, and its number of threads can be had again."""

from collections.abc import Iterator

import pytest
import torch

from service.core import environment
from service.core.environment import (
    MATH_VARIABLES,
    current_environment,
    describe_differences,
    set_threads,
)

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_it_names_the_libraries_the_processor_and_the_threads() -> None:
    set_threads(3)
    document = current_environment(CPU).to_dict()
    assert document["torch"] == torch.__version__
    assert document["threads"] == 3
    assert document["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert document["machine"]
    assert (document["device"], document["deterministic"]) == ("cpu", True)


def test_equal_environments_have_no_differences() -> None:
    before = current_environment(CPU).to_dict()
    assert describe_differences(before, current_environment(CPU).to_dict()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("torch", "1.0"), ("threads", 99), ("cpu_capability", "DEFAULT"), ("processor", "another")],
)
def test_a_difference_names_its_field_and_both_values(name: str, value: object) -> None:
    before = current_environment(CPU).to_dict()
    (difference,) = describe_differences(before, before | {name: value})
    assert difference == f"{name} {value} instead of {before[name]}"


def test_a_field_of_another_version_is_no_difference() -> None:
    before = current_environment(CPU).to_dict()
    assert describe_differences(before | {"later": 1}, before) == []
    assert describe_differences(before, before | {"later": 1}) == []


def test_variables_that_choose_other_arithmetic_are_differences(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in MATH_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    before = current_environment(CPU).to_dict()
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    (difference,) = describe_differences(before, current_environment(CPU).to_dict())
    assert difference == "math_variables MKL_CBWR=COMPATIBLE instead of none"


def test_a_machine_that_does_not_name_its_processor_has_an_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreadable(_: object) -> str:
        raise OSError

    environment._processor.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(environment.Path, "read_text", unreadable)
        assert isinstance(current_environment(CPU).processor, str)
    environment._processor.cache_clear()
