"""The environment that determines the bits of a training, and its number of threads."""

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
def _restore_threads() -> Iterator[None]:
    initial_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(initial_threads)


def test_environment_contains_libraries_processor_and_threads() -> None:
    set_threads(3)
    document = current_environment(CPU).to_dict()
    assert document["torch"] == torch.__version__
    assert document["threads"] == 3
    assert document["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert document["machine"]
    assert (document["device"], document["deterministic"]) == ("cpu", True)


def test_equal_environments_have_no_differences() -> None:
    first = current_environment(CPU).to_dict()
    assert describe_differences(first, current_environment(CPU).to_dict()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("torch", "1.0"), ("threads", 99), ("cpu_capability", "DEFAULT"), ("processor", "another")],
)
def test_difference_names_its_field_and_both_values(name: str, value: object) -> None:
    document = current_environment(CPU).to_dict()
    (difference,) = describe_differences(document, document | {name: value})
    assert difference == f"{name} {value} instead of {document[name]}"


def test_field_that_one_version_lacks_is_no_difference() -> None:
    document = current_environment(CPU).to_dict()
    assert describe_differences(document | {"later": 1}, document) == []
    assert describe_differences(document, document | {"later": 1}) == []


def test_math_variables_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in MATH_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    document = current_environment(CPU).to_dict()
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    (difference,) = describe_differences(document, current_environment(CPU).to_dict())
    assert difference == "math_variables MKL_CBWR=COMPATIBLE instead of none"


def test_unreadable_processor_name_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreadable(_: object) -> str:
        raise OSError

    environment._processor.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(environment.Path, "read_text", unreadable)
        assert isinstance(current_environment(CPU).processor, str)
    environment._processor.cache_clear()
