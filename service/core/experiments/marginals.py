"""Marginal means of a measure per value of a field, and which differences are noise.

Noise is what a difference shows although the settings are the same: here the spread between runs
of one setting that differ in their seed alone, pooled over all settings, with S settings of n_s
runs (the error mean square of a factorial design with replicates; Montgomery, Design and Analysis
of Experiments, section 5.3):

    s^2 = sum_s sum_k (y_sk - mean_s)^2 / df        df = sum_s (n_s - 1)

The marginal mean of a value is the mean of the means of its m settings, whose variance due to
seeds is v = s^2 sum_s (1 / n_s) / m^2. Two marginal means a and b differ by more than noise if

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
    noise: Noise | None
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
    groups = _groups(results, path) if is_grid else _sample_groups(results, path)
    if is_grid:
        complete = _complete_blocks(groups, path)
        noise = seed_noise(results)
    else:
        complete = groups
        noise = _setting_noise(list(groups.values()))
    left_out = sum(map(len, groups.values())) - sum(map(len, complete.values()))
    means = [_mean(key, group, noise) for key, group in complete.items() if group]
    pairs = list(combinations(range(len(means)), 2))
    comparisons = [_compare(means, pair, noise, len(pairs)) for pair in pairs]
    return Marginal(means, comparisons, noise, left_out)


def indistinguishable_settings(results: Sequence[SettingResult], best: int) -> list[int] | None:
    """Settings whose difference from the best one is noise; None if that is unknown."""
    noise = seed_noise(results)
    if noise is None:
        return None
    others = [index for index in range(len(results)) if index != best]
    return [
        index
        for index in others
        if abs(results[index].mean - results[best].mean)
        <= noise.band(1 / len(results[index].values), 1 / len(results[best].values), len(others))
    ]


def value_key(value: JsonValue) -> str:
    """Text that is equal for equal values, and differs for 1 and true."""
    return json.dumps(value, sort_keys=True)


_Groups = dict[str, list[SettingResult]]


def _groups(results: Sequence[SettingResult], path: str) -> _Groups:
    """Results by the JSON of their value; numbers in order, others as in the plan."""
    groups: _Groups = {}
    for result in results:
        groups.setdefault(value_key(result.setting.get(path)), []).append(result)
    if all(_is_number(json.loads(key)) for key in groups):
        return dict(sorted(groups.items(), key=lambda item: float(json.loads(item[0]))))
    return groups


def _sample_groups(results: Sequence[SettingResult], path: str) -> _Groups:
    """As `_groups`, but of many numbers thirds of the results, by the range of their values."""
    groups = _groups(results, path)
    is_numeric = all(_is_number(json.loads(key)) for key in groups)
    if not is_numeric or len(groups) <= MAX_DISTINCT_SAMPLES:
        return groups
    ordered = [result for group in groups.values() for result in group]
    bounds = [round(len(ordered) * i / SAMPLE_GROUPS) for i in range(SAMPLE_GROUPS + 1)]
    thirds = [ordered[start:end] for start, end in pairwise(bounds)]
    return {
        value_key([third[0].setting[path], third[-1].setting[path]]): third
        for third in thirds
        if third
    }


def _complete_blocks(groups: _Groups, path: str) -> _Groups:
    def block(result: SettingResult) -> str:
        return value_key({key: value for key, value in result.setting.items() if key != path})

    blocks = [{block(result) for result in group} for group in groups.values()]
    complete = set.intersection(*blocks) if blocks else set()
    return {
        key: [result for result in group if block(result) in complete]
        for key, group in groups.items()
    }


def _setting_noise(groups: Sequence[Sequence[SettingResult]]) -> Noise | None:
    degrees = sum(len(group) - 1 for group in groups)
    if degrees == 0:
        return None
    squares = 0.0
    for group in groups:
        mean = fmean(result.mean for result in group)
        squares += sum((result.mean - mean) ** 2 for result in group)
    return Noise(math.sqrt(squares / degrees), degrees, NoiseSource.SETTINGS)


def _mean(key: str, group: Sequence[SettingResult], noise: Noise | None) -> MarginalMean:
    per_setting = noise is not None and noise.source is NoiseSource.SETTINGS
    factors = [1.0 if per_setting else 1 / len(result.values) for result in group]
    return MarginalMean(
        value=json.loads(key),
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
