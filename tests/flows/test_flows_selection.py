"""Selections of epochs: `7`, `1,5,9`, `1:100:2`."""

import pytest

from service.errors import EpochNotFound, InvalidValue
from service.flows.maps.selection import select_epochs


@pytest.mark.parametrize(
    ("text", "epochs"),
    [
        ("3", [3]),
        ("5, 1,3", [1, 3, 5]),
        (":", [0, 1, 2, 3, 4, 5]),
        ("4:", [4, 5]),
        (":1", [0, 1]),
        ("1:5:2", [1, 3, 5]),
        ("4:10000", [4, 5]),
        ("2,9:", [2]),
        ("2,7:7", [2]),
        ("5:5", [5]),
    ],
)
def test_selection_contains_the_existing_epochs(text: str, epochs: list[int]) -> None:
    assert select_epochs(text, run_id=1, last=5) == epochs


@pytest.mark.parametrize("text", ["5:1", "0,5:1", "3:0", "5:1:2", "5:0,2"])
def test_range_that_ends_before_its_start_is_invalid(
    text: str,
) -> None:
    with pytest.raises(InvalidValue, match="is empty: it starts at") as refusal:
        select_epochs(text, run_id=1, last=5)
    assert refusal.value.field == "epochs"


@pytest.mark.parametrize(
    ("text", "last", "missing"),
    [("6", 5, 6), ("1,9", 5, 9), ("9:", 5, 9), ("8:20,7:9", 5, 7), (":5", -1, 0), ("2", -1, 2)],
)
def test_error_names_the_first_epoch_past_the_last(text: str, last: int, missing: int) -> None:
    with pytest.raises(EpochNotFound, match=f"has no epoch {missing}:"):
        select_epochs(text, run_id=1, last=last)


@pytest.mark.parametrize("text", ["", ",", "1,", "a", "-1", "1:2:0", "1:2:3:4", "1.5", "100000"])
def test_malformed_selection_is_invalid(text: str) -> None:
    with pytest.raises(InvalidValue, match="epochs are numbers and ranges"):
        select_epochs(text, run_id=1, last=5)
