"""Early ranking and events of probes, worked out by hand."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from service.core.insight.early_ranking import rank_correlation, rank_early
from service.core.insight.probe_events import find_probe_events


def test_settings_are_ranked_at_the_last_epoch_that_all_runs_have() -> None:
    ranking = rank_early(
        {"a": [[0.9, 0.8, 0.1]], "b": [[0.5, 0.4], [0.7, 0.6]], "c": [[0.7, 0.5]]},
        total_epochs=10,
    )
    assert ranking is not None
    assert (ranking.epoch, ranking.budget_share, ranking.is_reliable) == (2, 0.2, True)
    # The mean of b is 0.5, as large as that of c.
    assert [(item.setting, item.rank) for item in ranking.ranks] == [("b", 1), ("c", 1), ("a", 3)]
    assert ranking.reference_epoch == 1


def test_loss_that_is_not_finite_ranks_last() -> None:
    ranking = rank_early({"a": [[float("nan")]], "b": [[9.0]]}, total_epochs=100)
    assert ranking is not None
    assert [item.setting for item in ranking.ranks] == ["b", "a"]
    assert not ranking.is_reliable


def test_nothing_is_ranked_before_all_runs_have_an_epoch() -> None:
    assert rank_early({}, 10) is None
    assert rank_early({"a": [[0.5]], "b": [[]]}, 10) is None
    assert rank_early({"a": [[0.5]], "b": []}, 10) is None
    with pytest.raises(ValueError, match="total_epochs"):
        rank_early({"a": [[0.5]]}, 0)


def test_rank_correlation_equals_scipys() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        a, b = rng.integers(0, 6, (2, 9)).astype(float)
        assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation(np.zeros(5), np.arange(5.0)) is None
    assert rank_correlation(np.arange(2.0), np.arange(2.0)) is None


@pytest.mark.parametrize(
    ("classes", "label", "expected"),
    [
        ([1, 1, 3, 3], 3, [(2, "first-correct")]),
        ([3, 1, 2, 3], 3, [(0, "first-correct"), (1, "forgotten"), (2, "flipped"),
                           (3, "relearned")]),
        ([1, 2, 2], None, [(1, "flipped")]),
        ([], 3, []),
    ],
)  # fmt: skip
def test_probe_events(
    classes: list[int], label: int | None, expected: list[tuple[int, str]]
) -> None:
    events = find_probe_events(list(enumerate(classes)), label)
    assert [(event.epoch, event.type.value) for event in events] == expected
