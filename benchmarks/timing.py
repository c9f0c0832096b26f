"""Interleaved measurement: the contenders take turns, so that a slow spell meets all of them.

Two contenders are compared by the median of their ratios, one a round: both halves of a ratio were
measured next to each other.
"""

import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import ge, le

ROUNDS = 5

Contender = Callable[[], float]
"""Does its work and returns the seconds that count: one that prepares something leaves that out."""

COMPARISONS = {"<=": le, ">=": ge}


@dataclass(frozen=True)
class Timing:
    """What one contender took, in seconds, one value a round."""

    name: str
    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Target:
    """A bound that a ratio is asked to keep, as in `<= 0.75`."""

    comparison: str
    bound: float

    def __str__(self) -> str:
        return f"{self.comparison} {self.bound:g}"

    def met_by(self, value: float) -> bool:
        return bool(COMPARISONS[self.comparison](value, self.bound))


@dataclass(frozen=True)
class Ratio:
    """One contender's seconds over another's, one value a round."""

    name: str
    values: list[float]
    target: Target | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)


def timed(work: Callable[[], object], at_least_seconds: float = 0.0) -> Contender:
    """A contender whose whole work counts, repeated for `at_least_seconds`; gives the median.

    Not the mean: on a shared machine a pause of a neighbour's making is longer than short work is.
    """

    def measure() -> float:
        gc.collect()
        repetitions: list[float] = []
        while sum(repetitions) < at_least_seconds or not repetitions:
            start = time.perf_counter()
            work()
            repetitions.append(time.perf_counter() - start)
        return statistics.median(repetitions)

    return measure


def mean_seconds(requests: int, request: Callable[[], object]) -> Contender:
    """A turn of so many requests after one that is not counted; the mean seconds of one."""

    def measure() -> float:
        request()
        start = time.perf_counter()
        for _ in range(requests):
            request()
        return (time.perf_counter() - start) / requests

    return measure


def interleaved(contenders: Mapping[str, Contender], rounds: int = ROUNDS) -> dict[str, Timing]:
    """Let the contenders run in turn, A B C A B C ..., `rounds` times."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds):
        print(f"  round {turn + 1} of {rounds}", file=sys.stderr)
        for name, contender in contenders.items():
            seconds[name].append(contender())
    return {name: Timing(name, values) for name, values in seconds.items()}


def ratio(name: str, of: Timing, to: Timing, target: Target | None = None) -> Ratio:
    """How many times as long `of` took as `to`, round by round."""
    return Ratio(name, [a / b for a, b in zip(of.seconds, to.seconds, strict=True)], target)
