"""Metadata rows of maps: read where they are recorded, computed and recorded where not."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from service.errors import EpochQuarantined
from service.flows.maps.compute import Column, MapComputer, select_map
from service.flows.maps.record import MapRecorder
from service.flows.maps.request import MapSeries
from service.flows.maps.resolve import MapResolver
from service.flows.maps.selection import EpochSelection
from service.store import heatmaps
from service.store.heatmaps import Extremes, Heatmap
from service.store.store import Store

ROWS_PER_TRANSACTION = 100
"""Computed rows are recorded in batches of at least this many: each commit waits for the disk."""


class MapRows:
    """Rows over many epochs; those whose checkpoint turns out to be damaged are left out."""

    def __init__(
        self, store: Store, resolver: MapResolver, computer: MapComputer, recorder: MapRecorder
    ) -> None:
        self._store = store
        self._resolver = resolver
        self._computer = computer
        self._recorder = recorder

    def of_series(self, series: MapSeries, selection: EpochSelection) -> list[Heatmap]:
        """The rows of one series, by epoch. Raises EpochQuarantined where no epoch is left."""
        with self._store.read_session() as session:
            recorded = heatmaps.list_for_image(
                session,
                series.run_id,
                series.image.reference,
                series.class_index,
                series.method_text,
                series.layer,
            )
        return self._complete([series], selection, recorded)[0]

    def extremes_of_probes(
        self, series: Sequence[MapSeries], selection: EpochSelection
    ) -> tuple[Extremes, EpochSelection]:
        """The extremes of labeled probes' maps, and the epochs that they cover.

        The series differ by image and class alone. Recorded rows are read as columns.
        """
        if not series:
            return Extremes.from_heatmaps([]), selection
        first = series[0]
        with self._store.read_session() as session:
            recorded = heatmaps.get_probe_extremes(
                session, first.run_id, first.layer, first.method_text
            )
        counts = np.bincount(recorded.epochs, minlength=selection.numbers[-1] + 1)
        incomplete = [epoch for epoch in selection.epochs if counts[epoch.epoch] < len(series)]
        if not incomplete:
            return recorded.at_epochs(np.array(selection.numbers)), selection
        missing = EpochSelection(first.run_id, incomplete, [])
        rows, damage_reasons = self._complete_probes(series, missing)
        complete = np.setdiff1d(selection.numbers, missing.numbers)
        extremes = Extremes.concatenate(recorded.at_epochs(complete), Extremes.from_heatmaps(rows))
        return extremes, selection.without(damage_reasons)

    def compute_rows(self, columns: Sequence[Column]) -> Iterator[list[Heatmap] | EpochQuarantined]:
        """The rows of each column, computed and recorded in batches.

        Where a checkpoint turns out to be damaged, the error stands in the place of the rows.
        """
        pending: list[Heatmap] = []
        try:
            for column, maps in zip(columns, self._computer.compute_columns(columns), strict=True):
                if isinstance(maps, EpochQuarantined):
                    yield maps
                    continue
                rows = [
                    request.heatmap(select_map(request, class_maps))
                    for request, class_maps in zip(column, maps, strict=True)
                ]
                pending += rows
                if len(pending) >= ROWS_PER_TRANSACTION:
                    self._recorder.record(pending)
                    pending = []
                yield rows
        finally:
            self._recorder.record(pending)

    def _complete_probes(
        self, series: Sequence[MapSeries], selection: EpochSelection
    ) -> tuple[list[Heatmap], Mapping[int, str]]:
        first = series[0]
        with self._store.read_session() as session:
            recorded = heatmaps.list_for_probes(
                session, first.run_id, first.layer, first.method_text
            )
        return self._complete(series, selection, recorded)

    def _complete(
        self, series: Sequence[MapSeries], selection: EpochSelection, recorded: Sequence[Heatmap]
    ) -> tuple[list[Heatmap], Mapping[int, str]]:
        """The rows of all series by epoch, and the reasons of damaged epochs."""
        rows = {(row.epoch, row.image, row.class_index): row for row in recorded}
        columns, _ = self._resolver.at_selection(series, selection)
        missing = [
            [request for request in column if request.row_key not in rows] for column in columns
        ]
        damage_reasons: dict[int, str] = {}
        for rows_or_error in self.compute_rows([column for column in missing if column]):
            if isinstance(rows_or_error, EpochQuarantined):
                damage_reasons[rows_or_error.epoch] = rows_or_error.reason
            else:
                rows |= {(row.epoch, row.image, row.class_index): row for row in rows_or_error}
        requests = [request for column in columns for request in column]
        return [rows[r.row_key] for r in requests if r.row_key in rows], damage_reasons
