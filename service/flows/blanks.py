"""How many of a run's maps are blank, and why.

A table is first described, which counts nothing, then counted if its etag is new to the client.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.core.cams.blank import CAUSES, blank_cause
from service.core.cams.explanation import Explanation
from service.core.cams.methods import PAPER_METHODS
from service.flows.etags import etag_of
from service.flows.recording import ENGINE_VERSION
from service.flows.selection import Chosen, choose_epochs
from service.flows.viewing import Query, Subject, Viewer
from service.store.heatmaps import Heatmap

BLANKS_VERSION = 1
"""Part of every table's etag: raised when the same request would give another answer."""


@dataclass(frozen=True)
class BlankCount:
    """How many of some maps are blank, and why."""

    total: int
    blank: int
    by_cause: dict[str, int]

    @classmethod
    def of(cls, rows: Sequence[Heatmap], epsilon: float) -> "BlankCount":
        """Count the rows whose peak is at most epsilon."""
        causes = [blank_cause(row.peak, row.minimum, row.activation_peak, epsilon) for row in rows]
        by_cause = {cause.value: causes.count(cause) for cause in CAUSES}
        return cls(len(rows), sum(by_cause.values()), by_cause)


@dataclass(frozen=True)
class BlankTable:
    """Blank maps of a run's probes for their own labels, at one threshold."""

    epsilon: float
    methods: dict[str, BlankCount]
    per_epoch: dict[int, dict[str, BlankCount]]
    quarantined: list[int]  # epochs that were asked for and are not counted


@dataclass(frozen=True)
class Counting:
    """A table described; `etag` is another where the table would be another."""

    etag: str
    viewer: Viewer
    subjects: dict[str, list[Subject]]  # by method
    chosen: Chosen
    epsilon: float

    @property
    def maps(self) -> int:
        """How many are counted."""
        return sum(map(len, self.subjects.values())) * len(self.chosen.epochs)

    def table(self) -> BlankTable:
        """Count. What was not recorded is computed, and kept. Raises CheckpointCorrupt."""
        counted: dict[int, dict[str, list[Heatmap]]] = {
            epoch.epoch: {method: [] for method in self.subjects} for epoch in self.chosen.epochs
        }
        for method, subjects in self.subjects.items():
            for row in self.viewer.probe_rows(subjects, self.chosen.epochs):
                counted[row.epoch][method].append(row)
        return BlankTable(
            self.epsilon,
            {
                method: BlankCount.of(
                    [row for by_method in counted.values() for row in by_method[method]],
                    self.epsilon,
                )
                for method in self.subjects
            },
            {
                epoch: {
                    method: BlankCount.of(found, self.epsilon)
                    for method, found in by_method.items()
                }
                for epoch, by_method in counted.items()
            },
            self.chosen.quarantined,
        )


def blanks(
    viewer: Viewer,
    run_id: int,
    epochs: str,
    epsilon: float,
    explanations: Sequence[str] = PAPER_METHODS,
) -> Counting:
    """The probes' blank maps by those explanations, each at its default layer, to be counted.

    Raises RunNotFound, InvalidValue, EpochNotFound.
    """
    chosen = choose_epochs(epochs, run_id, viewer.epochs(run_id))
    explained = [Explanation.parse(one) for one in explanations]
    rows = viewer.probe_subjects_of([Query.explained(run_id, one) for one in explained])
    subjects = {
        # An upload has no class of its own to be blank for.
        str(one): [subject for subject in probes if not subject.predicted]
        for one, probes in zip(explained, rows, strict=True)
    }
    etag = etag_of(
        *("blanks", BLANKS_VERSION, ENGINE_VERSION, run_id, epsilon),
        [
            (method, one.layer, one.image.sha256, one.drawn_names, one.class_index)
            for method, rows in subjects.items()
            for one in rows
        ],
        list(subjects),
        [(epoch.epoch, epoch.checkpoint.sha256) for epoch in chosen.epochs],
        chosen.quarantined,
    )
    return Counting(etag, viewer, subjects, chosen, epsilon)


def count_blanks(
    viewer: Viewer,
    run_id: int,
    epochs: str,
    epsilon: float,
    explanations: Sequence[str] = PAPER_METHODS,
) -> BlankTable:
    """The same, counted at once. Raises CheckpointCorrupt, too."""
    return blanks(viewer, run_id, epochs, epsilon, explanations).table()
