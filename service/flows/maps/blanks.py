"""Counts of a run's blank maps, by cause."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.core.cams.maps import BLANKS, Blank, blank_codes
from service.core.cams.methods import PAPER_METHODS, MethodSpec
from service.flows.identity import identity_of
from service.flows.maps.deferred import Deferred, defer_over_epochs
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.request import MapQuery, MapSeries
from service.flows.maps.selection import EpochSelection
from service.flows.recording import ENGINE_VERSION
from service.store.heatmaps import Extremes

BLANKS_VERSION = 1
"""Part of every table's identity: raised when the same request would give another answer."""


@dataclass(frozen=True)
class BlankCount:
    """How many maps there are, how many of them are blank, and why."""

    total: int
    blank: int
    by_cause: dict[str, int]

    @classmethod
    def from_counts(cls, counts: npt.NDArray[np.intp]) -> "BlankCount":
        """From the number of maps of each of BLANKS."""
        numbers: list[int] = counts.tolist()
        by_cause = {
            cause.value: number
            for cause, number in zip(BLANKS, numbers, strict=True)
            if cause is not Blank.NONE
        }
        return cls(sum(numbers), sum(by_cause.values()), by_cause)


@dataclass(frozen=True)
class BlankTable:
    """Blank maps of a run's probes for their own labels, at one threshold."""

    epsilon: float
    methods: dict[str, BlankCount]
    per_epoch: dict[int, dict[str, BlankCount]]
    quarantined: list[int]  # requested epochs that are not counted


def blanks(
    pipeline: MapPipeline,
    run_id: int,
    epochs: str,
    epsilon: float,
    methods: Sequence[str] = PAPER_METHODS,
) -> Deferred[BlankTable]:
    """Counts of the probes' blank maps by those methods, each at its default layer.

    Rows that are not recorded are computed and recorded. Raises RunNotFound, InvalidValue,
    UnknownName, EpochNotFound, and on computing EpochQuarantined.
    """
    specs = {str(spec): spec for spec in map(MethodSpec.parse, methods)}
    queries = [MapQuery.of_method(run_id, spec) for spec in specs.values()]
    rows, selection = pipeline.resolver.resolve_probe_series(queries, epochs)
    series = {
        # An unlabeled upload has no class of its own to be blank for.
        method: [probe for probe in probes if probe.class_index is not None]
        for method, probes in zip(specs, rows, strict=True)
    }
    identity_parts = [
        (method, probe.layer, probe.image_sha256, probe.displayed_names, probe.class_index)
        for method, probes in series.items()
        for probe in probes
    ]

    def identify(usable_epochs: EpochSelection) -> str:
        return identity_of(
            *("blanks", BLANKS_VERSION, ENGINE_VERSION, run_id, epsilon),
            *(
                identity_parts,
                list(series),
                usable_epochs.checkpoints,
                usable_epochs.quarantined,
            ),
        )

    return defer_over_epochs(
        selection,
        identify,
        lambda requested: _count(pipeline, series, requested, epsilon),
        map_count=sum(map(len, series.values())) * len(selection.epochs),
    )


def _count(
    pipeline: MapPipeline,
    series: Mapping[str, Sequence[MapSeries]],
    selection: EpochSelection,
    epsilon: float,
) -> tuple[BlankTable, EpochSelection]:
    extremes: dict[str, Extremes] = {}
    for method, probes in series.items():
        extremes[method], selection = pipeline.rows.extremes_of_probes(probes, selection)
    counts = {
        method: _counts_by_epoch(values, selection.numbers, epsilon)
        for method, values in extremes.items()
    }
    table = BlankTable(
        epsilon,
        {method: BlankCount.from_counts(rows.sum(0)) for method, rows in counts.items()},
        {
            number: {method: BlankCount.from_counts(rows[i]) for method, rows in counts.items()}
            for i, number in enumerate(selection.numbers)
        },
        selection.quarantined,
    )
    return table, selection


def _counts_by_epoch(
    extremes: Extremes, epochs: Sequence[int], epsilon: float
) -> npt.NDArray[np.intp]:
    """How many maps of each epoch are of each of BLANKS, (E, len(BLANKS))."""
    # A checkpoint that turned out to be damaged for a later method is counted for none.
    extremes = extremes.at_epochs(np.array(epochs, np.int64))
    codes = blank_codes(extremes.peaks, extremes.minima, extremes.activation_peaks, epsilon)
    cells = np.searchsorted(epochs, extremes.epochs) * len(BLANKS) + codes
    counts = np.bincount(cells, minlength=len(epochs) * len(BLANKS))
    return counts.reshape(len(epochs), len(BLANKS))
