"""What a report tells, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class RunFacts:
    """The run itself."""

    id: int
    name: str
    tags: Sequence[str]
    status: str
    error: str | None
    epochs_done: int  # -1 before epoch 0
    epochs_total: int
    dataset: str
    class_names: Sequence[str]
    spec: Mapping[str, Any]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class EpochFacts:
    """What was measured of an epoch: losses in nats, accuracies 0..1, seconds."""

    epoch: int
    train_loss: float | None
    train_accuracy: float | None
    test_loss: float
    test_accuracy: float
    per_class_accuracy: Sequence[float]
    learning_rate: float
    seconds: float
    checkpoint: str  # sha256
    created_at: datetime


@dataclass(frozen=True)
class MethodFacts:
    """A method as it was asked for."""

    text: str  # as the API takes it
    title: str
    formula: str
    source: str
    year: int
    layer: str | None  # None while the run has no images to look at


@dataclass(frozen=True)
class Maps:
    """A method's maps over the report's epochs."""

    method: MethodFacts
    sheet: bytes  # PNG
    rows: int  # of the sheet: all images that the run watches
    counted: int  # maps of each epoch that are counted: an image without a label has none
    blank_by_epoch: Mapping[int, int]
    total: int
    blank: int
    by_cause: Mapping[str, int]

    def blank_share(self, epoch: int) -> float | None:
        """Of the epoch's maps that are counted, 0..1; None where there are none."""
        return self.blank_by_epoch[epoch] / self.counted if self.counted else None


@dataclass(frozen=True)
class Report:
    """All that a report is made of; without epochs it has no maps either."""

    run: RunFacts
    asked_epochs: str  # `0:`
    epochs: Sequence[EpochFacts]
    shown: Sequence[int]  # those of the epochs that sheets and the table have
    step: int  # one in so many is shown, and the last
    methods: Sequence[MethodFacts]
    maps: Sequence[Maps]
    epsilon: float
    colormap: str
    version: str
