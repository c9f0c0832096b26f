"""The content of a report, independent of language and layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class RunFacts:
    """The run's record."""

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
    """Measures of one epoch: losses in nats, accuracies in 0..1."""

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


EPOCH_FIELDS = frozenset(field.name for field in fields(EpochFacts))
"""Names of the fields of EpochFacts."""


@dataclass(frozen=True)
class MethodFacts:
    """A CAM method and the layer that it explains."""

    text: str  # as the API accepts it: `layer-cam/centered`
    title: str
    formula: str
    source: str
    year: int
    layer: str | None  # None while the run has no images to explain


@dataclass(frozen=True)
class MethodMaps:
    """One method's maps over the epochs of a report, and their blank counts."""

    method: MethodFacts
    sheet: bytes  # PNG
    rows: int  # of the sheet: one for each probe image
    maps_per_epoch: int  # maps in the blank counts: images without a label have none
    blanks_per_epoch: Mapping[int, int]
    map_count: int
    blank_count: int
    blanks_by_cause: Mapping[str, int]

    def blank_fraction(self, epoch: int) -> float | None:
        """Blank maps of an epoch divided by its counted maps, 0..1; None if none are counted."""
        count = self.maps_per_epoch
        return self.blanks_per_epoch[epoch] / count if count else None

    @property
    def total_blank_fraction(self) -> float | None:
        """Blank maps divided by all counted maps, 0..1; None if none are counted."""
        return self.blank_count / self.map_count if self.map_count else None


@dataclass(frozen=True)
class EvidenceFacts:
    """A measured number, by the code of what was measured."""

    name: str
    value: float
    threshold: float | None
    n: int


@dataclass(frozen=True)
class FindingFacts:
    """A finding with its sentences in the report's language."""

    sentence: str
    severity: str
    refutation: str
    epochs: tuple[int, int] | None
    evidence: Sequence[EvidenceFacts]


@dataclass(frozen=True)
class FindingSection:
    """What the stored results say; pictures are PNG, None where there are none."""

    findings: Sequence[FindingFacts] = ()
    unavailable: Sequence[str] = ()  # sentences
    exchange_map: bytes | None = None
    class_means: bytes | None = None


@dataclass(frozen=True)
class Report:
    """Everything that a report shows. Without epochs there are no maps."""

    run: RunFacts
    epoch_selector: str  # as requested: `0:`
    epochs: Sequence[EpochFacts]
    sampled_epochs: Sequence[int]  # the epochs in the sheets and in the table of epochs
    sampling_step: int  # every how many epochs; the last epoch is always included
    methods: Sequence[MethodFacts]
    maps: Sequence[MethodMaps]
    epsilon: float
    colormap: str
    version: str
    insight: FindingSection = FindingSection()

    @property
    def table_epochs(self) -> list[EpochFacts]:
        """The sampled epochs with their measures."""
        sampled_epochs = set(self.sampled_epochs)
        return [epoch for epoch in self.epochs if epoch.epoch in sampled_epochs]
