"""Atlases: the maps of many (method, image, class, epoch) as 8-bit levels, read from rows.

Maps that are not recorded are computed epoch by epoch and recorded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from service.core.cams.layers import map_placement, map_size
from service.core.cams.maps import Blank
from service.core.cams.methods import PAPER_METHODS, MethodSpec
from service.core.models import Placement
from service.core.render.atlas import Bytes, atlas_cell_placement, atlas_cell_size
from service.errors import EpochQuarantined, InvalidValue
from service.flows.cache import Cache
from service.flows.identity import identity_of
from service.flows.maps.deferred import Deferred, Result
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.request import MapQuery, MapRequest, MapSeries
from service.flows.maps.selection import EpochSelection, check_cells
from service.flows.recording import ENGINE_VERSION
from service.store import heatmaps
from service.store.heatmaps import MapLevels

ATLAS_VERSION = 1
"""Part of every atlas's identity: raised when the same request would give other levels."""

MAX_CELLS = 40_000

Presence = npt.NDArray[np.bool_]
"""Which cells (M, R, E) are filled."""


class AtlasRows(StrEnum):
    """What a row of an atlas is."""

    PROBES = "probes"  # an image of the run, for its own label or one class for all
    CLASSES = "classes"  # a class of one image


@dataclass(frozen=True)
class AtlasQuery:
    """The atlas that a client requests; None takes the default."""

    run_id: int
    methods: Sequence[str] = PAPER_METHODS
    rows: AtlasRows = AtlasRows.PROBES
    image: str | None = None
    class_name: str | None = None
    layer: str | None = None
    epochs: str = "0:"


@dataclass(frozen=True)
class AtlasLayout:
    """What the cells of an atlas are: its axes are methods, rows and epochs."""

    series: list[list[MapSeries]]  # by method, then by row; each of one class
    selection: EpochSelection
    cell_shape: tuple[int, int]  # height, width
    placement: Placement

    @property
    def rows(self) -> list[MapSeries]:
        """The rows of the first method; those of the others differ by method alone."""
        return self.series[0]

    @property
    def methods(self) -> list[str]:
        """The methods' texts."""
        return [rows[0].method_text for rows in self.series]

    @property
    def shape(self) -> tuple[int, int, int]:
        """The number of methods, rows and epochs (M, R, E)."""
        return len(self.series), len(self.rows), len(self.selection.epochs)


@dataclass(frozen=True)
class Atlas:
    """The cells of a layout."""

    layout: AtlasLayout
    levels: Bytes  # (M, R, E, h, w)
    minimum: npt.NDArray[np.float64]  # (M, R, E); infinite, as `peak`, where a map is not finite
    peak: npt.NDArray[np.float64]
    blank: npt.NDArray[np.str_]  # causes at the default threshold

    @classmethod
    def empty(cls, layout: AtlasLayout) -> "Atlas":
        """An atlas whose cells are to be filled."""
        return cls(
            layout,
            np.zeros((*layout.shape, *layout.cell_shape), np.uint8),
            np.zeros(layout.shape),
            np.zeros(layout.shape),
            np.zeros(layout.shape, "U16"),
        )

    @property
    def nbytes(self) -> int:
        """Size of the arrays."""
        return sum(array.nbytes for array in (self.levels, self.minimum, self.peak, self.blank))

    def fill(self, rows: Sequence[MapLevels]) -> Presence:
        """Copy the rows that belong to cells into them; returns which cells these are."""
        layout, width = self.layout, self.layout.shape[2]
        columns = {number: column for column, number in enumerate(layout.selection.numbers)}
        offsets = {
            (series.method_text, series.image.reference, series.class_index): line * width
            for line, series in enumerate(row for rows in layout.series for row in rows)
        }
        cells, cell_rows = [], []
        for row in rows:
            offset = offsets.get((row.method, row.image, row.class_index))
            column = columns.get(row.epoch)
            if offset is not None and column is not None:
                cells.append(offset + column)
                cell_rows.append(row)
        presence = np.zeros(layout.shape, bool)
        presence.reshape(-1)[cells] = True
        size = layout.cell_shape[0] * layout.cell_shape[1]
        levels = np.frombuffer(b"".join(row.levels for row in cell_rows), np.uint8)
        self.levels.reshape(-1, size)[cells] = levels.reshape(-1, size)
        self.minimum.reshape(-1)[cells] = [row.minimum for row in cell_rows]
        self.peak.reshape(-1)[cells] = [row.peak for row in cell_rows]
        self.blank.reshape(-1)[cells] = [row.blank for row in cell_rows]
        # In rows of older versions an infinite map may have another cause.
        is_finite = np.isfinite(self.peak) & np.isfinite(self.minimum)
        self.blank[~is_finite] = Blank.NOT_FINITE.value
        return presence

    def without_epochs(self, usable_epochs: EpochSelection) -> "Atlas":
        """The columns of the epochs of `usable_epochs` alone."""
        is_covered = np.isin(self.layout.selection.numbers, usable_epochs.numbers)
        return Atlas(
            replace(self.layout, selection=usable_epochs),
            self.levels[:, :, is_covered],
            self.minimum[:, :, is_covered],
            self.peak[:, :, is_covered],
            self.blank[:, :, is_covered],
        )


class Atlases:
    """Makes atlases, and caches the latest: a picture and its layout are two requests."""

    def __init__(self, pipeline: MapPipeline) -> None:
        self.pipeline = pipeline
        self._cache: Cache[Result[Atlas]] = Cache(
            pipeline.cache_sizes.atlases, lambda result: result.value.nbytes
        )

    def atlas(self, query: AtlasQuery) -> Deferred[Atlas]:
        """The atlas of a query. Raises RunNotFound, EpochNotFound, ImageNotFound, InvalidValue."""
        layout = self._resolve(query)
        identity = _identify(layout)

        def make() -> Result[Atlas]:
            atlas = self._read_or_compute(layout)
            selection = atlas.layout.selection
            made_identity = identity if atlas.layout is layout else _identify(atlas.layout)
            return Result(made_identity, atlas, selection.quarantined)

        map_count = layout.shape[0] * layout.shape[1] * layout.shape[2]
        return Deferred(identity, make, map_count, self._cache)

    def _resolve(self, query: AtlasQuery) -> AtlasLayout:
        # By text: a method that is requested twice has one block of rows.
        specs = {str(spec): spec for spec in map(MethodSpec.parse, query.methods)}
        series, selection = self._resolve_rows(query, list(specs.values()))
        first = _check_one_layer(series)
        check_cells(len(series) * len(series[0]), selection.numbers, MAX_CELLS)
        series, selection = self._fix_classes(series, selection)
        layers = first.run.layers
        size = map_size(first.layer, layers, first.run.image_shape[1:])
        placement = atlas_cell_placement(map_placement(first.layer, layers), *size)
        return AtlasLayout(series, selection, atlas_cell_size(*size), placement)

    def _resolve_rows(
        self, query: AtlasQuery, specs: Sequence[MethodSpec]
    ) -> tuple[list[list[MapSeries]], EpochSelection]:
        """The rows of each method."""
        queries = [
            replace(
                MapQuery.of_method(query.run_id, spec, query.layer),
                image=query.image,
                class_name=query.class_name,
            )
            for spec in specs
        ]
        resolver = self.pipeline.resolver
        if query.rows is AtlasRows.CLASSES:
            if query.class_name is not None:
                raise InvalidValue("class", "goes with rows=probes: rows=classes takes every class")
            series, selection = resolver.resolve_class_series(queries, query.epochs)
            return _common_rows(series), selection
        if query.image is not None:
            rows, selection = resolver.resolve_image_series(queries, query.epochs)
            return [[one_row] for one_row in rows], selection
        series, selection = resolver.resolve_probe_series(queries, query.epochs)
        return _common_rows(series), selection

    def _fix_classes(
        self, series: list[list[MapSeries]], selection: EpochSelection
    ) -> tuple[list[list[MapSeries]], EpochSelection]:
        """Rows of one class each: of an upload, the class predicted at the last epoch."""
        if all(row.class_index is not None for rows in series for row in rows):
            return series, selection
        for epoch in reversed(selection.epochs):
            last = EpochSelection(selection.run_id, [epoch], [])
            try:
                columns = [self.pipeline.resolver.at_selection(rows, last)[0][0] for rows in series]
            except EpochQuarantined as error:
                selection = selection.without({error.epoch: error.reason})
            else:
                break
        fixed = [
            [replace(request.series, class_index=request.class_index) for request in column]
            for column in columns
        ]
        return fixed, selection

    def _read_or_compute(self, layout: AtlasLayout) -> Atlas:
        numbers = layout.selection.numbers
        with self.pipeline.store.read_session() as session:
            recorded = heatmaps.list_levels(
                session,
                layout.selection.run_id,
                layout.rows[0].layer,
                layout.methods,
                list({row.image.reference for row in layout.rows}),
                list({row.class_index for row in layout.rows if row.class_index is not None}),
                (numbers[0], numbers[-1]),
            )
        atlas = Atlas.empty(layout)
        presence = atlas.fill(recorded)
        damage_reasons = self._compute_missing(atlas, ~presence)
        return (
            atlas.without_epochs(layout.selection.without(damage_reasons))
            if damage_reasons
            else atlas
        )

    def _compute_missing(self, atlas: Atlas, missing: Presence) -> dict[int, str]:
        """Fill the missing cells, an epoch at a time; the reasons of damaged epochs."""
        layout = atlas.layout
        columns: list[list[MapRequest]] = []
        for column in np.flatnonzero(missing.any((0, 1))):
            epoch = layout.selection.epochs[column]
            for method, rows in enumerate(layout.series):
                indices = np.flatnonzero(missing[method, :, column])
                requests = [
                    rows[index].at_epoch(epoch, _class_of(rows[index])) for index in indices
                ]
                if requests:
                    columns.append(requests)
        damage_reasons: dict[int, str] = {}
        for rows_or_error in self.pipeline.rows.compute_rows(columns):
            if isinstance(rows_or_error, EpochQuarantined):
                damage_reasons[rows_or_error.epoch] = rows_or_error.reason
            else:
                atlas.fill([MapLevels.from_heatmap(row) for row in rows_or_error])
        return damage_reasons


def _common_rows(series: Sequence[Sequence[MapSeries]]) -> list[list[MapSeries]]:
    """The rows that all methods have: a contrast has none of the class that it contrasts with."""
    keys = [{(row.image.reference, row.class_index) for row in rows} for rows in series]
    common = set.intersection(*keys)
    return [
        [row for row in rows if (row.image.reference, row.class_index) in common] for rows in series
    ]


def _class_of(series: MapSeries) -> int:
    if series.class_index is None:
        raise TypeError("the rows of an atlas have classes")
    return series.class_index


def _identify(layout: AtlasLayout) -> str:
    selection = layout.selection
    return identity_of(
        *("atlas", ATLAS_VERSION, ENGINE_VERSION, selection.run_id),
        *(layout.rows[0].layer, layout.methods),
        [(row.image_sha256, row.displayed_names, row.class_index) for row in layout.rows],
        *(selection.checkpoints, selection.quarantined),
    )


def _check_one_layer(series: Sequence[Sequence[MapSeries]]) -> MapSeries:
    """Any of the series. Raises InvalidValue if there are none, or of several layers.

    The cells of an atlas have one size and one placement on their images.
    """
    by_layer = {row.layer: row for rows in series for row in rows}
    if not by_layer:
        raise InvalidValue("rows", "the run has no probes yet")
    if len(by_layer) > 1:
        names = ", ".join(f"{row.method_text} of {layer}" for layer, row in by_layer.items())
        raise InvalidValue("method", f"an atlas is of one layer, and these are not: {names}")
    return next(iter(by_layer.values()))
