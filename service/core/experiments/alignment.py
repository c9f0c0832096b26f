"""Which epochs of several runs are compared: the same epoch, images seen, or test loss."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_COLUMNS = 24


class Alignment(StrEnum):
    """What the epochs of one column have in common."""

    EPOCH = "epoch"
    IMAGES = "images"  # training images seen
    LOSS = "loss"  # the first epoch with at most that test loss


@dataclass(frozen=True)
class Curve:
    """The epochs of a run, from 0: test loss (None if not finite), and images per epoch."""

    test_losses: Sequence[float | None]
    images_per_epoch: int

    @property
    def last_epoch(self) -> int:
        """The last recorded epoch; -1 if there is none."""
        return len(self.test_losses) - 1


@dataclass(frozen=True)
class Column:
    """An epoch number, number of images or test loss, and the epoch of each run that has it."""

    value: float
    epochs: Mapping[int, int]  # by run


def align(curves: Mapping[int, Curve], alignment: Alignment, columns: int) -> list[Column]:
    """Up to `columns` evenly spaced columns, the last one where most can be compared.

    By epoch or images: from 0 to the most that any run has; a run that has fewer is not in the
    later columns. Of images, a run has the last epoch that saw no more. By loss: from the loss of
    the untrained networks down to the lowest that every run reaches, evenly by its logarithm.
    Runs without epochs are in no column.
    """
    recorded = {run: curve for run, curve in curves.items() if curve.last_epoch >= 0}
    if not recorded:
        return []
    if alignment is Alignment.LOSS:
        return _align_losses(recorded, columns)
    if alignment is Alignment.EPOCH:
        last = max(curve.last_epoch for curve in recorded.values())
        return [
            Column(
                epoch,
                {run: epoch for run, curve in recorded.items() if epoch <= curve.last_epoch},
            )
            for epoch in spaced(last, columns)
        ]
    image_count = max(curve.last_epoch * curve.images_per_epoch for curve in recorded.values())
    largest_step = max(curve.images_per_epoch for curve in recorded.values())
    counts = [index * largest_step for index in spaced(image_count // largest_step, columns)]
    return [
        Column(
            count,
            {
                run: count // curve.images_per_epoch
                for run, curve in recorded.items()
                if count // curve.images_per_epoch <= curve.last_epoch
            },
        )
        for count in counts
    ]


def last_common_column(curves: Mapping[int, Curve], alignment: Alignment) -> Column | None:
    """The last column that all runs are in; None if one of them has no epoch, or no loss.

    By epoch: the last that every run has. By images: the most that every run has seen. By loss:
    the lowest that every run reaches.
    """
    if not curves or any(curve.last_epoch < 0 for curve in curves.values()):
        return None
    if alignment is Alignment.LOSS:
        columns = _align_losses(curves, 2)
        return columns[-1] if columns and len(columns[-1].epochs) == len(curves) else None
    if alignment is Alignment.EPOCH:
        epoch = min(curve.last_epoch for curve in curves.values())
        return Column(epoch, dict.fromkeys(curves, epoch))
    count = min(curve.last_epoch * curve.images_per_epoch for curve in curves.values())
    return Column(count, {run: count // curve.images_per_epoch for run, curve in curves.items()})


def spaced(last: int, count: int) -> list[int]:
    """At most `count` evenly spaced numbers from 0 to `last`, both included."""
    if last < count:
        return list(range(last + 1))
    return [round(last * index / (count - 1)) for index in range(count)] if count > 1 else [last]


def _align_losses(curves: Mapping[int, Curve], columns: int) -> list[Column]:
    losses = {run: _finite(curve) for run, curve in curves.items()}
    losses = {run: values for run, values in losses.items() if values}
    if not losses:
        return []
    lowest = max(min(values.values()) for values in losses.values())
    highest = min(values[min(values)] for values in losses.values())
    if not 0 < lowest < highest:
        levels = [lowest]
    else:
        ratio = lowest / highest
        levels = [highest * ratio ** (index / (columns - 1)) for index in range(columns - 1)]
        levels.append(lowest)
    return [
        Column(
            level,
            {
                run: epoch
                for run, values in losses.items()
                if (epoch := _first_at_most(values, level)) is not None
            },
        )
        for level in levels
    ]


def _finite(curve: Curve) -> dict[int, float]:
    return {
        epoch: loss
        for epoch, loss in enumerate(curve.test_losses)
        if loss is not None and math.isfinite(loss)
    }


def _first_at_most(losses: Mapping[int, float], level: float) -> int | None:
    return next((epoch for epoch, loss in losses.items() if loss <= level), None)
