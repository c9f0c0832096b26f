"""The measures by which the runs of an experiment are compared. A new one is an entry here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from service.core.cams.methods import PAPER_METHODS


class Direction(StrEnum):
    """Which values of a measure are better."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True)
class EpochResult:
    """What is recorded of an epoch of a run. None where nothing is."""

    train_loss: float | None
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    per_class_accuracy: list[float]
    seconds: float | None
    blank_shares: Mapping[str, float]  # by method, of the probes' maps for their labels


@dataclass(frozen=True)
class RunMeasure:
    """A number for each epoch of a run."""

    name: str
    description: str  # with its unit or range
    direction: Direction
    value: Callable[[EpochResult], float | None]


def _worst_class_accuracy(result: EpochResult) -> float | None:
    return min(result.per_class_accuracy, default=None)


def _blank_share(method: str) -> RunMeasure:
    return RunMeasure(
        f"blank_share_{method}",
        f"Share of the probes' maps for their labels by {method} that are blank at the default "
        "threshold, 0 to 1.",
        Direction.LOWER,
        lambda result: result.blank_shares.get(method),
    )


RUN_MEASURES: dict[str, RunMeasure] = {
    measure.name: measure
    for measure in (
        RunMeasure(
            "test_accuracy",
            "Share of the test images that are classified correctly, 0 to 1.",
            Direction.HIGHER,
            lambda result: result.test_accuracy,
        ),
        RunMeasure(
            "test_loss",
            "Mean cross-entropy of the test images, in nats.",
            Direction.LOWER,
            lambda result: result.test_loss,
        ),
        RunMeasure(
            "train_accuracy",
            "Accuracy on the training images of the epoch as they were drawn, with dropout, 0 to "
            "1. Lower than without dropout, so it is not comparable between dropout rates.",
            Direction.NEITHER,
            lambda result: result.train_accuracy,
        ),
        RunMeasure(
            "train_loss",
            "Mean training loss of the epoch, in nats; as for the training accuracy.",
            Direction.NEITHER,
            lambda result: result.train_loss,
        ),
        RunMeasure(
            "worst_class_accuracy",
            "Test accuracy of the class that has the lowest, 0 to 1.",
            Direction.HIGHER,
            _worst_class_accuracy,
        ),
        *(_blank_share(method) for method in PAPER_METHODS),
        RunMeasure(
            "seconds",
            "Duration of the epoch's training and evaluation, in seconds. It depends on what else "
            "the machine does, so no value is called better.",
            Direction.NEITHER,
            lambda result: result.seconds,
        ),
    )
}
"""Columns of the table of an experiment, tints of its matrix, and rows of its marginal means."""
