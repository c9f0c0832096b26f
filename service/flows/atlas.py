"""An atlas: the maps of many (method, image, class, epoch) in levels, read from rows.

What was recorded costs no torch. What was not is computed epoch by epoch, kept, and so read from
rows the next time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from service.core.cams.layers import map_size
from service.core.cams.maps import Blank
from service.core.cams.methods import PAPER_METHODS, MethodSpec
from service.core.models import Placement
from service.core.render.atlas import Bytes, atlas_cell_placement, atlas_cell_size
from service.errors import InvalidValue
from service.flows.cache import Cache
from service.flows.etags import etag_of
from service.flows.recording import ENGINE_VERSION
from service.flows.selection import check_cells, choose_epochs
from service.flows.viewing import Query, Subject, Viewer
from service.store import heatmaps
from service.store.epochs import Epoch
from service.store.heatmaps import MapLevels

ATLAS_VERSION = 1
"""Part of every atlas' etag: raised when the same request would give other levels."""

MAX_CELLS = 40_000
ATLASES_BYTES = 96 * 2**20


class AtlasRows(StrEnum):
    """What a row of an atlas is."""

    PROBES = "probes"  # an image of the run's, for its own label or one class for all
    CLASSES = "classes"  # a class of one image


@dataclass(frozen=True)
class AtlasQuery:
    """What a client asks for; None takes the default of `api.md`."""

    run_id: int
    methods: Sequence[str] = PAPER_METHODS
    rows: AtlasRows = AtlasRows.PROBES
    image: str | None = None
    class_name: str | None = None
    layer: str | None = None
    epochs: str = "0:"


@dataclass(frozen=True)
class Plan:
    """An atlas described, which costs no torch: its cells are (method, row, epoch)."""

    etag: str
    run_id: int
    subjects: list[list[Subject]]  # by method, then by row
    epochs: list[int]
    quarantined: list[int]  # epochs that were asked for and have no cells
    cell: tuple[int, int]  # height, width
    placement: Placement

    @property
    def methods(self) -> list[str]:
        """Their texts, as rows of the database name them."""
        return [rows[0].method for rows in self.subjects]

    @property
    def rows(self) -> list[Subject]:
        """The rows of one method; those of the others differ by method alone."""
        return self.subjects[0]

    @property
    def layer(self) -> str:
        """The layer of all maps."""
        return self.rows[0].layer

    @property
    def shape(self) -> tuple[int, int, int]:
        """How many methods, rows and epochs."""
        return len(self.subjects), len(self.rows), len(self.epochs)


@dataclass(frozen=True)
class Atlas:
    """The cells: all arrays begin with the plan's (methods, rows, epochs)."""

    levels: Bytes  # (M, R, E, h, w)
    minimum: npt.NDArray[np.float64]  # infinite, as the peak, where a map is not finite
    peak: npt.NDArray[np.float64]
    blank: npt.NDArray[np.str_]  # causes at the default threshold

    @classmethod
    def empty(cls, plan: Plan) -> "Atlas":
        """With nothing in it yet."""
        return cls(
            np.zeros((*plan.shape, *plan.cell), np.uint8),
            np.zeros(plan.shape),
            np.zeros(plan.shape),
            np.zeros(plan.shape, "U16"),
        )

    @property
    def nbytes(self) -> int:
        """What it holds."""
        return sum(part.nbytes for part in vars(self).values())


class Atlases:
    """Makes atlases; keeps the latest, so that picture and layout of one request cost one."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self._made: Cache[Atlas] = Cache(ATLASES_BYTES, lambda atlas: atlas.nbytes)

    def plan(self, query: AtlasQuery) -> Plan:
        """What is asked for. Raises RunNotFound, EpochNotFound, ImageNotFound, InvalidValue."""
        texts = dict.fromkeys(str(MethodSpec.parse(text)) for text in query.methods)
        subjects = self._subjects(query, [MethodSpec.parse(text) for text in texts])
        one = _alike(subjects)
        found = choose_epochs(query.epochs, query.run_id, self.viewer.epochs(query.run_id))
        chosen = [epoch.epoch for epoch in found.epochs]
        check_cells(len(subjects) * len(subjects[0]), chosen, MAX_CELLS)
        subjects = self._of_one_class(subjects, found.epochs[-1])
        size = map_size(one.layer, self.viewer.layers(one.spec), one.spec.source.image_shape[1:])
        etag = etag_of(
            *("atlas", ATLAS_VERSION, ENGINE_VERSION, query.run_id, one.layer, list(texts)),
            [(row.image.sha256, row.drawn_names, row.class_index) for row in subjects[0]],
            [(epoch.epoch, epoch.checkpoint.sha256) for epoch in found.epochs],
            found.quarantined,
        )
        place = atlas_cell_placement(self.viewer.placement(one), *size)
        cell = atlas_cell_size(*size)
        return Plan(etag, query.run_id, subjects, chosen, found.quarantined, cell, place)

    def atlas(self, plan: Plan) -> Atlas:
        """Its cells. Raises CheckpointCorrupt and InvalidValue where some are not kept yet."""
        return self._made.get_or_make(plan.etag, lambda: self._make(plan))

    def _subjects(
        self, query: AtlasQuery, explanations: Sequence[MethodSpec]
    ) -> list[list[Subject]]:
        """The rows of each explanation."""
        asked = [
            replace(
                Query.explained(query.run_id, explanation, query.layer),
                image=query.image,
                class_name=query.class_name,
            )
            for explanation in explanations
        ]
        if query.rows is AtlasRows.CLASSES:
            if query.class_name is not None:
                raise InvalidValue("class", "goes with rows=probes: rows=classes takes every class")
            return [self.viewer.class_subjects(one) for one in asked]
        if query.image is not None:
            return [[self.viewer.subject(one)] for one in asked]
        return self.viewer.probe_subjects_of(asked)

    def _of_one_class(self, subjects: list[list[Subject]], last: Epoch) -> list[list[Subject]]:
        """A row is of one class: of an upload, the one predicted at the last of the epochs."""
        if not any(row.predicted for rows in subjects for row in rows):
            return subjects
        return [[self.viewer.at(row, last) for row in rows] for rows in subjects]

    def _make(self, plan: Plan) -> Atlas:
        with self.viewer.store.read_session() as session:
            kept = heatmaps.list_levels(
                session,
                plan.run_id,
                plan.layer,
                plan.methods,
                list({row.image.reference for row in plan.rows}),
                list({row.class_index for row in plan.rows}),
                (plan.epochs[0], plan.epochs[-1]),
            )
        atlas = Atlas.empty(plan)
        there = _fill(plan, atlas, kept)
        self._complete(plan, atlas, ~there)
        return atlas

    def _complete(self, plan: Plan, atlas: Atlas, missing: npt.NDArray[np.bool_]) -> None:
        """Compute the missing cells, each epoch's at once, and keep their rows."""
        columns = np.flatnonzero(missing.any((0, 1)))
        needed = self.viewer.epochs(plan.run_id, [plan.epochs[column] for column in columns])
        cells = [
            (epoch, [subjects[row] for row in np.flatnonzero(missing[method, :, column])])
            for column, epoch in zip(columns, needed, strict=True)
            for method, subjects in enumerate(plan.subjects)
        ]
        for rows in self.viewer.computed([cell for cell in cells if cell[1]]):
            _fill(plan, atlas, [MapLevels.from_heatmap(row) for row in rows])


def _alike(subjects: Sequence[Sequence[Subject]]) -> Subject:
    """Any of them. Raises InvalidValue where the maps are not of the same layer, or there are none.

    One page has cells of one size that lie on the image in one way.
    """
    layers = {row.layer: row for rows in subjects for row in rows}
    if not layers:
        raise InvalidValue("rows", "the run has no probes yet")
    if len(layers) > 1:
        told = ", ".join(f"{row.method} of {layer}" for layer, row in layers.items())
        raise InvalidValue("method", f"an atlas is of one layer, and these are not: {told}")
    return next(iter(layers.values()))


def _fill(plan: Plan, atlas: Atlas, rows: Sequence[MapLevels]) -> npt.NDArray[np.bool_]:
    """Put rows in their cells; returns which cells (M, R, E) they are. Others are left out."""
    wide = len(plan.epochs)
    columns = {epoch: column for column, epoch in enumerate(plan.epochs)}
    lines = {
        (subject.method, subject.image.reference, subject.class_index): line * wide
        for line, subject in enumerate(row for rows in plan.subjects for row in rows)
    }
    cells, found = [], []
    for row in rows:
        line = lines.get((row.method, row.image, row.class_index))
        column = columns.get(row.epoch)
        if line is not None and column is not None:
            cells.append(line + column)
            found.append(row)
    height, width = plan.cell
    there = np.zeros(plan.shape, bool)
    there.reshape(-1)[cells] = True
    levels = np.frombuffer(b"".join(row.levels for row in found), np.uint8)
    atlas.levels.reshape(-1, height * width)[cells] = levels.reshape(-1, height * width)
    atlas.minimum.reshape(-1)[cells] = [row.minimum for row in found]
    atlas.peak.reshape(-1)[cells] = [row.peak for row in found]
    atlas.blank.reshape(-1)[cells] = [row.blank for row in found]
    # Kept by an older version, an infinite map may have another cause.
    atlas.blank[~(np.isfinite(atlas.peak) & np.isfinite(atlas.minimum))] = Blank.NOT_FINITE.value
    return there
