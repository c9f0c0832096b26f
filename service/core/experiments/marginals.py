"""Marginal means of a measure per value of a field, and which differences are noise.

Noise is what a difference shows although the settings are the same: here the spread between runs
of one setting that differ in their seed alone, pooled over the settings of the two values that are
compared, with n_s runs of setting s (the error mean square of a factorial design with replicates;
Montgomery, Design and Analysis of Experiments, section 5.3):

    s^2 = sum_s sum_k (y_sk - mean_s)^2 / df        df = sum_s (n_s - 1)

Not over all settings of the experiment: runs of a poor setting often differ more than those of a
good one. The marginal mean of a value is the mean of the means of its m settings, whose variance
due to seeds is v = s^2 sum_s (1 / n_s) / m^2. Two marginal means a and b differ by more than noise
if

    |a - b| > t(1 - alpha / (2 c), df) sqrt(v_a + v_b)

with alpha 0.05 and c comparisons: the least significant difference (Fisher 1935) at the level of
Bonferroni's correction (Dunn 1961) for the pairs of values of the field.

In a grid, the settings of two values differ in that field alone. In a sample or a list they also
differ in the others, so the spread between the means of settings with the same value is the noise:
s^2 is their pooled variance, df their number less the number of values, and n_s is 1.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, pairwise
from statistics import fmean

from pydantic import JsonValue

from service.core.experiments.student import t_quantile

ALPHA = 0.05
MAX_DISTINCT_SAMPLES = 6
"""Sampled numbers with more different values are grouped."""

SAMPLE_GROUPS = 3


class NoiseSource(StrEnum):
    """What the noise of a comparison is estimated from."""

    SEEDS = "seeds"  # runs of one setting
    SETTINGS = "settings"  # settings of one value, which differ in the other fields too


@dataclass(frozen=True)
class SettingResult:
    """A setting and the values of a measure of its runs, at least one."""

    setting: Mapping[str, JsonValue]
    values: Sequence[float]

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return fmean(self.values)


@dataclass(frozen=True)
class Noise:
    """Standard deviation of what is compared, its degrees of freedom, and what it is from."""

    deviation: float
    degrees_of_freedom: int
    source: NoiseSource

    def band(self, first_variance: float, second_variance: float, comparisons: int) -> float:
        """The largest difference that is noise; variances in units of the squared deviation."""
        quantile = t_quantile(1 - ALPHA / (2 * max(1, comparisons)), self.degrees_of_freedom)
        return quantile * self.deviation * math.sqrt(first_variance + second_variance)


@dataclass(frozen=True)
class MarginalMean:
    """The mean over the settings with a value, or with values from `low` to `high`."""

    value: JsonValue
    settings: int
    runs: int
    mean: float
    variance_factor: float  # variance of the mean, in units of the squared noise deviation


@dataclass(frozen=True)
class Comparison:
    """The difference of two means, second less first; None where noise cannot be estimated."""

    first: int
    second: int
    difference: float
    band: float | None

    @property
    def is_noise(self) -> bool | None:
        """Whether the difference is not larger than noise."""
        return None if self.band is None else abs(self.difference) <= self.band


@dataclass(frozen=True)
class Marginal:
    """A measure by the values of a field."""

    means: list[MarginalMean]
    comparisons: list[Comparison]  # of all pairs of means
    noise: Noise | None  # of all settings
    left_out: int  # settings of the grid whose counterparts of another value have no result


def seed_noise(results: Sequence[SettingResult]) -> Noise | None:
    """The pooled spread between seeds; None if no setting has two runs."""
    degrees = sum(len(result.values) - 1 for result in results)
    if degrees == 0:
        return None
    squares = sum((value - result.mean) ** 2 for result in results for value in result.values)
    return Noise(math.sqrt(squares / degrees), degrees, NoiseSource.SEEDS)


def marginal(results: Sequence[SettingResult], path: str, *, is_grid: bool) -> Marginal:
    """Marginal means of the values of the field at `path`, in order of the values.

    Of a grid, only settings that have results for every value of the field, so that the means are
    over the same values of the other fields.
    """
    values = [result.setting.get(path) for result in results]
    groups: _Groups = [
        (value, [results[index] for index in indices])
        for value, indices in group_by_value(values, merges_numbers=not is_grid)
    ]
    complete = _complete_blocks(groups, path) if is_grid else groups
    noise = _noise([group for _, group in groups], is_grid)
    left_out = sum(len(group) for _, group in groups) - sum(len(group) for _, group in complete)
    means = [_mean(value, group, noise) for value, group in complete if group]
    pairs = list(combinations(range(len(means)), 2))
    members = [group for _, group in complete if group]
    comparisons = [
        _compare(means, pair, _noise([members[index] for index in pair], is_grid), len(pairs))
        for pair in pairs
    ]
    return Marginal(means, comparisons, noise, left_out)


def indistinguishable_settings(results: Sequence[SettingResult], best: int) -> list[int] | None:
    """Settings whose difference from the best one is noise; None if that is unknown."""
    noise = seed_noise(results)
    if noise is None:
        return None
    rivals = [index for index in range(len(results)) if index != best]
    return [
        index
        for index in rivals
        if abs(results[index].mean - results[best].mean)
        <= noise.band(1 / len(results[index].values), 1 / len(results[best].values), len(rivals))
    ]


def value_key(value: JsonValue) -> str:
    """Text that is equal for equal values, and differs for 1 and true."""
    return json.dumps(value, sort_keys=True)


def group_by_value(
    values: Sequence[JsonValue], *, merges_numbers: bool
) -> list[tuple[JsonValue, list[int]]]:
    """The indices of equal values by value; numbers in ascending order, others as they come.

    With `merges_numbers`, more than MAX_DISTINCT_SAMPLES numbers become SAMPLE_GROUPS groups of
    equal size, whose value is [lowest, highest].
    """
    groups: dict[str, list[int]] = {}
    for index, value in enumerate(values):
        groups.setdefault(value_key(value), []).append(index)
    pairs = [(values[indices[0]], indices) for indices in groups.values()]
    if not all(_is_number(value) for value, _ in pairs):
        return pairs
    pairs.sort(key=lambda pair: _number(pair[0]))
    if not merges_numbers or len(pairs) <= MAX_DISTINCT_SAMPLES:
        return pairs
    ordered = [index for _, indices in pairs for index in indices]
    bounds = [round(len(ordered) * i / SAMPLE_GROUPS) for i in range(SAMPLE_GROUPS + 1)]
    parts = [ordered[start:end] for start, end in pairwise(bounds)]
    return [([values[part[0]], values[part[-1]]], part) for part in parts if part]


_Groups = list[tuple[JsonValue, list[SettingResult]]]


def _complete_blocks(groups: _Groups, path: str) -> _Groups:
    def block(result: SettingResult) -> str:
        return value_key({key: value for key, value in result.setting.items() if key != path})

    blocks = [{block(result) for result in group} for _, group in groups]
    complete = set.intersection(*blocks) if blocks else set()
    return [
        (value, [result for result in group if block(result) in complete])
        for value, group in groups
    ]


def _noise(groups: Sequence[Sequence[SettingResult]], is_grid: bool) -> Noise | None:
    """The noise among the settings of these groups; None if there is nothing to estimate it."""
    if is_grid:
        return seed_noise([result for group in groups for result in group])
    return _setting_noise(groups)


def _setting_noise(groups: Sequence[Sequence[SettingResult]]) -> Noise | None:
    degrees = sum(len(group) - 1 for group in groups)
    if degrees == 0:
        return None
    squares = 0.0
    for group in groups:
        mean = fmean(result.mean for result in group)
        squares += sum((result.mean - mean) ** 2 for result in group)
    return Noise(math.sqrt(squares / degrees), degrees, NoiseSource.SETTINGS)


def _mean(value: JsonValue, group: Sequence[SettingResult], noise: Noise | None) -> MarginalMean:
    per_setting = noise is not None and noise.source is NoiseSource.SETTINGS
    factors = [1.0 if per_setting else 1 / len(result.values) for result in group]
    return MarginalMean(
        value=value,
        settings=len(group),
        runs=sum(len(result.values) for result in group),
        mean=fmean(result.mean for result in group),
        variance_factor=sum(factors) / len(group) ** 2,
    )


def _compare(
    means: Sequence[MarginalMean], pair: tuple[int, int], noise: Noise | None, comparisons: int
) -> Comparison:
    first, second = means[pair[0]], means[pair[1]]
    band = None
    if noise is not None:
        band = noise.band(first.variance_factor, second.variance_factor, comparisons)
    return Comparison(*pair, second.mean - first.mean, band)


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: JsonValue) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
