"""Shortcuts: classes that a network decides by a property that is not the object's shape."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from service.core.insight.exchange import (
    RECIPIENTS_PER_CLASS,
    ExchangeGap,
    ExchangeSample,
    ExchangeUnavailable,
    OperatorResult,
    PixelNetwork,
    applicable_operators,
    draw_sample,
    measure_exchanges,
    seconds_per_image,
)
from service.core.insight.finding import Evidence, Finding, Region, Severity, Unavailable
from service.core.insight.operators import OPERATORS
from service.core.insight.places import locate_surround, map_exchanges

PREDICTION_THRESHOLD = 0.1
"""Share of images whose prediction an exchange changes, from which on it matters to users."""

EXCHANGE_VERSION = 1
"""Raised when the test gives other results for the same network and images."""


NOT_TESTED = "not-tested"
"""Why a kind is unavailable if no test was recorded."""


class ShortcutKind(StrEnum):
    """Kinds of findings of the exchange test."""

    SURROUND = "shortcut-surround"
    OBJECT = "shortcut-object"


KIND_OF_OPERATOR = {
    "surround": ShortcutKind.SURROUND,
    "level": ShortcutKind.SURROUND,
}
"""Kinds by operator; all others exchange a property of the object."""


@dataclass(frozen=True)
class ExchangeTest:
    """The results of the exchange test for the network of an epoch."""

    epoch: int
    results: tuple[OperatorResult, ...] = ()
    regions: Mapping[int, Region] = field(default_factory=dict)  # of `surround`, by class
    excluded_classes: tuple[int, ...] = ()  # without enough images with a plausible object
    gap: ExchangeGap | None = None  # why there are no results
    is_complete: bool = True  # with all operators that apply to the images
    exchange_map: npt.NDArray[np.float32] | None = None  # (C, H, W), as of `ExchangeMap`

    def to_document(self) -> dict[str, Any]:
        """The test as JSON values, without its map."""
        return {
            "version": EXCHANGE_VERSION,
            "results": [vars(result) for result in self.results],
            "regions": {str(index): vars(region) for index, region in self.regions.items()},
            "excluded_classes": list(self.excluded_classes),
            "gap": self.gap,
            "is_complete": self.is_complete,
        }

    @classmethod
    def from_document(
        cls,
        epoch: int,
        document: Mapping[str, Any],
        exchange_map: npt.NDArray[np.float32] | None = None,
    ) -> "ExchangeTest":
        """The test of those JSON values. Raises KeyError, TypeError or ValueError for others."""
        lists = ("shares", "recall_lost", "images_turned")
        return cls(
            epoch=epoch,
            results=tuple(
                OperatorResult(**{**result, **{name: tuple(result[name]) for name in lists}})
                for result in document["results"]
            ),
            regions={int(index): Region(**region) for index, region in document["regions"].items()},
            excluded_classes=tuple(document["excluded_classes"]),
            gap=document["gap"] and ExchangeGap(document["gap"]),
            is_complete=bool(document["is_complete"]),
            exchange_map=exchange_map,
        )

    def check(self, class_count: int) -> None:
        """Raises ValueError for results that no test of so many classes has."""
        for result in self.results:
            numbers = (*result.shares, *result.recall_lost, *result.images_turned)
            if result.operator not in OPERATORS or type(result.images) is not int:
                raise ValueError("an unknown operator")
            if len(numbers) != 3 * class_count or len(result.shares) != len(result.recall_lost):
                raise ValueError("not one number per class")
            values = [number for number in numbers if number is not None]
            if not all(type(value) in (int, float) and math.isfinite(value) for value in values):
                raise ValueError("a number is not finite")
        for region in self.regions.values():
            if not all(type(value) in (int, float) for value in vars(region).values()):
                raise ValueError("a region is no rectangle")
        if not {*self.regions, *self.excluded_classes} <= set(range(class_count)):
            raise ValueError("an unknown class")


def examine_exchanges(
    network: PixelNetwork,
    images: Tensor,
    labels: Tensor,
    class_count: int,
    *,
    epoch: int,
    masks: Tensor | None = None,
    seed: int = 0,
    operators: Sequence[str] | None = None,
    with_map: bool = True,
    budget_seconds: float | None = None,
) -> ExchangeTest:
    """The exchange test of a network with images float32 (N, D, H, W), 0..1, labels int64 (N,).

    `operators` are by default all that apply. Within `budget_seconds`, as measured with a few
    images, fewer images are exchanged, or nothing is tested.
    """
    applicable_names = applicable_operators(images.shape)
    names = applicable_names if operators is None else list(operators)
    try:
        per_class, deadline = RECIPIENTS_PER_CLASS, None
        if budget_seconds is not None:
            deadline = time.perf_counter() + budget_seconds
            seconds = seconds_per_image(network, images)
            per_class = _affordable_recipients(seconds, budget_seconds, class_count, len(names))
        sample = draw_sample(
            images, labels, class_count, masks=masks, seed=seed, recipients_per_class=per_class
        )
        results = measure_exchanges(network, sample, class_count, names, deadline)
    except ExchangeUnavailable as error:
        return ExchangeTest(epoch, gap=error.gap, is_complete=operators is None)
    return ExchangeTest(
        epoch,
        tuple(results),
        _regions(network, sample, results),
        sample.excluded_classes,
        is_complete=len(results) == len(applicable_names),
        exchange_map=map_exchanges(network, sample, class_count).values if with_map else None,
    )


def _affordable_recipients(
    seconds_per_image: float, budget_seconds: float, class_count: int, operator_count: int
) -> int:
    """Recipients per class within the budget. Raises ExchangeUnavailable for less than three."""
    images = budget_seconds / max(seconds_per_image, 1e-9)
    # Operators, the pool and the map; a gradient takes about three times a forward pass.
    per_recipient = class_count * (class_count * operator_count + 10)
    count = int(images / per_recipient)
    if count < 3:
        raise ExchangeUnavailable(ExchangeGap.OVER_BUDGET)
    return min(RECIPIENTS_PER_CLASS, count)


def _regions(
    network: PixelNetwork, sample: ExchangeSample, results: Sequence[OperatorResult]
) -> dict[int, Region]:
    """Where the surroundings count, for the classes with a share above the threshold."""
    threshold = OPERATORS["surround"].threshold
    return {
        index: locate_surround(network, sample, index)
        for result in results
        if result.operator == "surround"
        for index, share in enumerate(result.shares)
        if share is not None and share >= threshold
    }


def find_shortcuts(tests: Sequence[ExchangeTest]) -> Iterator[Finding | Unavailable]:
    """Shortcuts of the last tested epoch, and since which of the tested epochs each holds.

    Reasons are those of `ExchangeGap`, or `not-tested`.
    """
    ordered = sorted(tests, key=lambda test: test.epoch)
    if not ordered:
        yield Unavailable("shortcut", NOT_TESTED)
        return
    last = max(ordered, key=lambda test: (len(test.results) > 1, test.epoch))
    if last.gap is not None:
        yield Unavailable("shortcut", last.gap)
        return
    if last.excluded_classes:
        yield Unavailable("shortcut", ExchangeGap.NO_PLAUSIBLE_OBJECT)
    if not last.is_complete:
        reason = ExchangeGap.OVER_BUDGET if len(last.results) > 1 else NOT_TESTED
        yield Unavailable(ShortcutKind.OBJECT, reason)
    findings = [
        _finding(last, result, index, _first_epoch(ordered, last, result.operator, index))
        for result in last.results
        for index, share in enumerate(result.shares)
        if share is not None and share >= OPERATORS[result.operator].threshold
    ]
    yield from sorted(findings, key=lambda finding: -finding.evidence[0].value)


def _finding(test: ExchangeTest, result: OperatorResult, index: int, first_epoch: int) -> Finding:
    operator = OPERATORS[result.operator]
    share = result.shares[index] or 0.0
    changes = [
        Evidence(name, value, PREDICTION_THRESHOLD, result.images)
        for name, values in (
            ("recall_lost", result.recall_lost),
            ("images_turned", result.images_turned),
        )
        if (value := values[index]) is not None
    ]
    changes_predictions = any(item.value >= PREDICTION_THRESHOLD for item in changes)
    severity = Severity.CHANGES_PREDICTIONS if changes_predictions else Severity.EVIDENCE_ONLY
    return Finding(
        kind=KIND_OF_OPERATOR.get(result.operator, ShortcutKind.OBJECT),
        severity=Severity.NOTE if operator.is_note and not changes_predictions else severity,
        evidence=(
            Evidence("exchange_share", share, operator.threshold, result.images),
            *changes,
        ),
        class_indices=(index,),
        epochs=(first_epoch, test.epoch),
        region=test.regions.get(index) if result.operator == "surround" else None,
        attribute=result.operator,
    )


def _first_epoch(
    tests: Sequence[ExchangeTest], last: ExchangeTest, operator: str, index: int
) -> int:
    """The first of the consecutive tested epochs up to the last that show the shortcut."""
    first = last.epoch
    for test in reversed([item for item in tests if item.epoch < last.epoch]):
        shares = [r.shares[index] for r in test.results if r.operator == operator]
        share = shares[0] if shares else None
        if share is None or share < OPERATORS[operator].threshold:
            break
        first = test.epoch
    return first
