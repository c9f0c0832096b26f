"""How many of a run's maps are blank, and why.

A table is first described, which counts nothing, then counted if its etag is new to the client.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.core.cams.maps import BLANKS, Blank, blank_codes
from service.core.cams.methods import PAPER_METHODS, MethodSpec
from service.flows.etags import etag_of
from service.flows.recording import ENGINE_VERSION
from service.flows.selection import Chosen, choose_epochs
from service.flows.viewing import Query, Subject, Viewer

BLANKS_VERSION = 1
"""Part of every table's etag: raised when the same request would give another answer."""


@dataclass(frozen=True)
class BlankCount:
    """How many of some maps are blank, and why."""

    total: int
    blank: int
    by_cause: dict[str, int]

    @classmethod
    def of(cls, by_blank: npt.NDArray[np.intp]) -> "BlankCount":
        """From how many maps there are of each of BLANKS."""
        numbers: list[int] = by_blank.tolist()
        by_cause = {
            blank.value: number
            for blank, number in zip(BLANKS, numbers, strict=True)
            if blank is not Blank.NONE
        }
        return cls(sum(numbers), sum(by_cause.values()), by_cause)


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
        counts = {method: self._counts(subjects) for method, subjects in self.subjects.items()}
        per_epoch = {
            epoch.epoch: {method: BlankCount.of(rows[i]) for method, rows in counts.items()}
            for i, epoch in enumerate(self.chosen.epochs)
        }
        return BlankTable(
            self.epsilon,
            {method: BlankCount.of(rows.sum(0)) for method, rows in counts.items()},
            per_epoch,
            self.chosen.quarantined,
        )

    def _counts(self, subjects: Sequence[Subject]) -> npt.NDArray[np.intp]:
        """How many of the subjects' maps at each epoch are of each of BLANKS, (E, len(BLANKS))."""
        numbers = [epoch.epoch for epoch in self.chosen.epochs]
        extremes = self.viewer.probe_extremes(subjects, self.chosen.epochs)
        codes = blank_codes(
            extremes.peaks, extremes.minima, extremes.activation_peaks, self.epsilon
        )
        cells = np.searchsorted(numbers, extremes.epochs) * len(BLANKS) + codes
        counts = np.bincount(cells, minlength=len(numbers) * len(BLANKS))
        return counts.reshape(len(numbers), len(BLANKS))


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
    explained = [MethodSpec.parse(one) for one in explanations]
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
