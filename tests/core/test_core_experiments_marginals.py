"""Marginal means and noise, worked out by hand, and the alignment of epochs."""

import math
from collections.abc import Sequence

import pytest

from service.core.experiments.alignment import Alignment, Curve, align, last_common_column
from service.core.experiments.marginals import (
    NoiseSource,
    SettingResult,
    group_by_value,
    indistinguishable_settings,
    marginal,
    seed_noise,
)
from service.core.experiments.student import t_quantile


@pytest.mark.parametrize(
    ("probability", "degrees", "expected"),
    # Table of the t distribution in any textbook.
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 4, 2.776),
        (0.975, 10, 2.228),
        (0.975, 30, 2.042),
        (0.995, 7, 3.499),
        (0.95, 5, 2.015),
        (0.5, 3, 0.0),
    ],
)
def test_quantiles_of_student_are_those_of_the_table(
    probability: float, degrees: int, expected: float
) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(expected, abs=6e-4)


def grid(rows: Sequence[tuple[float, float, list[float]]]) -> list[SettingResult]:
    return [SettingResult({"rate": rate, "dropout": drop}, values) for rate, drop, values in rows]


GRID = grid([(0.1, 0.0, [1, 3]), (0.1, 0.5, [2, 4]), (1.0, 0.0, [7, 9]), (1.0, 0.5, [9, 11])])
"""Means of the settings 2, 3, 8 and 10; each has squares of 1 + 1 about its mean."""


def test_grid_of_two_fields_by_hand() -> None:
    noise = seed_noise(GRID)
    assert noise is not None
    # s^2 = (2 + 2 + 2 + 2) / 4, and 4 settings with one degree of freedom each.
    assert (noise.deviation, noise.degrees_of_freedom) == (pytest.approx(math.sqrt(2)), 4)

    rate = marginal(GRID, "rate", is_grid=True)
    assert [(mean.value, mean.mean, mean.runs) for mean in rate.means] == [
        (0.1, 2.5, 4),
        (1.0, 9, 4),
    ]
    # Variance of each mean: 2 * (1/2 + 1/2) / 2^2 = 0.5; of the difference 1; t(0.975, 4) = 2.776.
    (difference,) = rate.comparisons
    assert difference.difference == 6.5
    assert difference.band == pytest.approx(2.776, abs=1e-3)
    assert difference.is_noise is False

    dropout = marginal(GRID, "dropout", is_grid=True)
    assert [mean.mean for mean in dropout.means] == [5, 6.5]
    assert dropout.comparisons[0].band == pytest.approx(2.776, abs=1e-3)
    assert dropout.comparisons[0].is_noise is True


def test_three_values_are_compared_with_the_correction_of_bonferroni() -> None:
    results = [
        SettingResult({"rate": rate}, [value, value + 2])
        for rate, value in ((1, 0), (2, 4), (3, 20))
    ]
    rate = marginal(results, "rate", is_grid=True)
    # Of two values: s^2 = (2 + 2) / 2, df 2; 3 pairs: t(1 - 0.05 / 6, 2) = 7.649; variance of a
    # difference 2 (1/2 + 1/2).
    expected = [7.649 * math.sqrt(2)] * 3
    assert [pair.band for pair in rate.comparisons] == pytest.approx(expected, rel=1e-3)
    assert [pair.is_noise for pair in rate.comparisons] == [True, False, False]


def test_noise_of_a_poor_value_does_not_hide_a_difference_between_good_ones() -> None:
    results = grid([(0, 0.0, [0, 40]), (1, 0.0, [90, 91]), (2, 0.0, [98, 99])])
    poor_rate, bad_rate, good_rate = marginal(results, "rate", is_grid=True).comparisons
    # Of values 1 and 2: s^2 = (0.5 + 0.5) / 2; band 7.649 sqrt(0.5).
    assert good_rate.band == pytest.approx(7.649 * math.sqrt(0.5), rel=1e-3)
    assert (poor_rate.is_noise, bad_rate.is_noise, good_rate.is_noise) == (True, True, False)


def test_noise_is_unknown_with_one_seed() -> None:
    results = [SettingResult({"rate": rate}, [rate]) for rate in (1.0, 2.0)]
    (difference,) = marginal(results, "rate", is_grid=True).comparisons
    assert (difference.difference, difference.band, difference.is_noise) == (1.0, None, None)
    assert indistinguishable_settings(results, 0) is None


def test_setting_without_counterpart_is_left_out_of_a_grid() -> None:
    rate = marginal(GRID[:3], "rate", is_grid=True)
    assert [mean.mean for mean in rate.means] == [2, 8]  # of dropout 0 alone
    assert rate.left_out == 1


def test_in_a_sample_the_spread_between_settings_is_the_noise() -> None:
    results = [
        SettingResult({"kind": kind}, [value])
        for kind, value in (("a", 1), ("a", 3), ("b", 6), ("b", 8))
    ]
    kind = marginal(results, "kind", is_grid=False)
    assert kind.noise is not None
    assert (kind.noise.source, kind.noise.degrees_of_freedom) == (NoiseSource.SETTINGS, 2)
    # s^2 = (2 + 2) / 2; variance of the difference 2 (1/2 + 1/2); t(0.975, 2) = 4.303.
    assert kind.comparisons[0].band == pytest.approx(4.303 * math.sqrt(2), rel=1e-3)
    assert kind.comparisons[0].is_noise is True


def test_many_sampled_numbers_are_compared_by_thirds() -> None:
    values = [5.0, 1.0, 9.0, 3.0, 7.0, 2.0, 8.0]
    groups = group_by_value(values, merges_numbers=True)
    assert [value for value, _ in groups] == [[1.0, 2.0], [3.0, 7.0], [8.0, 9.0]]
    assert sorted(index for _, indices in groups for index in indices) == list(range(7))
    assert len(group_by_value(values, merges_numbers=False)) == 7
    assert group_by_value([True, 1, "x"], merges_numbers=False) == [
        (True, [0]),
        (1, [1]),
        ("x", [2]),
    ]


def test_settings_within_noise_of_the_best() -> None:
    # s^2 = 2, df 4, 3 comparisons: t(1 - 0.05 / 6, 4) = 3.961; band 3.961 sqrt(2 * (1/2 + 1/2)).
    band = 3.961 * math.sqrt(2)
    assert GRID[3].mean - GRID[2].mean < band < GRID[3].mean - GRID[1].mean
    assert indistinguishable_settings(GRID, 3) == [2]


LOSSES = {
    1: Curve([2.0, 1.0, 0.5, 0.25], images_per_epoch=100),
    2: Curve([2.5, 1.5, 0.4], images_per_epoch=200),
}


def test_alignment_by_epoch_leaves_out_runs_that_have_not_reached_it() -> None:
    columns = align(LOSSES, Alignment.EPOCH, 10)
    assert [(column.value, dict(column.epochs)) for column in columns] == [
        (0, {1: 0, 2: 0}), (1, {1: 1, 2: 1}), (2, {1: 2, 2: 2}), (3, {1: 3})
    ]  # fmt: skip
    assert [column.value for column in align(LOSSES, Alignment.EPOCH, 2)] == [0, 3]


def test_alignment_by_images_seen() -> None:
    columns = align(LOSSES, Alignment.IMAGES, 3)
    assert [(column.value, dict(column.epochs)) for column in columns] == [
        (0, {1: 0, 2: 0}), (200, {1: 2, 2: 1}), (400, {2: 2})
    ]  # fmt: skip
    last = last_common_column(LOSSES, Alignment.IMAGES)
    assert last is not None
    assert (last.value, dict(last.epochs)) == (300, {1: 3, 2: 1})


def test_alignment_by_loss_takes_the_first_epoch_that_reaches_it() -> None:
    columns = align(LOSSES, Alignment.LOSS, 3)
    # From the lower of the first losses, 2.0, to the higher of the lowest, 0.4, by equal ratios.
    assert [column.value for column in columns] == pytest.approx([2.0, math.sqrt(0.8), 0.4])
    assert [dict(column.epochs) for column in columns] == [{1: 0, 2: 1}, {1: 2, 2: 2}, {1: 3, 2: 2}]


def test_runs_without_epochs_or_loss_do_not_align() -> None:
    curves = {1: Curve([], 100), 2: Curve([None, math.inf], 100)}
    assert align({1: curves[1]}, Alignment.EPOCH, 3) == []
    assert align(curves, Alignment.LOSS, 3) == []
    assert last_common_column(curves, Alignment.EPOCH) is None
    assert last_common_column({2: curves[2]}, Alignment.LOSS) is None
