"""Queries on maps' metadata."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Row, Select, bindparam, select, update
from sqlalchemy.orm import Session

from service.store.insert_missing import insert_missing
from service.store.rows import HeatmapRow, ImageRow, ProbeRow
from service.store.run_status import is_visible


@dataclass(frozen=True)
class Heatmap:
    """What is known of one map. Peaks and minimum are unscaled; see `core/cams/blank.py`.

    Infinite or NaN where the map, or the layer's activations, are not finite.
    """

    run_id: int
    epoch: int
    image: str
    class_index: int
    method: str
    layer: str
    peak: float
    minimum: float
    activation_peak: float
    blank: str
    etag: str
    levels: bytes | None = None  # height x width of them; left out by queries on metadata
    height: int | None = None
    width: int | None = None


EXTREME_FIELDS = ("peak", "minimum", "activation_peak")
"""Fields of a Heatmap that need not be finite."""

# As columns, not as entities: a run's page reads thousands of rows in one request.
_METADATA = tuple(field.name for field in fields(Heatmap) if field.name != "levels")
_COLUMNS = tuple(getattr(HeatmapRow, name) for name in _METADATA)


def add_missing(session: Session, heatmaps: Iterable[Heatmap]) -> None:
    """Insert those that are not there yet: a map of a checkpoint never changes."""
    now = datetime.now(UTC)
    rows = [asdict(one) | _storable_extremes(one) | {"created_at": now} for one in heatmaps]
    insert_missing(session, HeatmapRow, rows)


def _storable_extremes(heatmap: Heatmap) -> dict[str, float]:
    """Infinity in the place of NaN, which SQLite stores as NULL."""
    extremes = {name: getattr(heatmap, name) for name in EXTREME_FIELDS}
    return {name: math.inf if math.isnan(value) else value for name, value in extremes.items()}


def add_or_complete(session: Session, heatmaps: Sequence[Heatmap]) -> None:
    """Keep them, and give those an older schema kept without their levels what they lack."""
    add_missing(session, heatmaps)
    key = ("run_id", "image", "class_index", "method", "layer", "epoch")
    given = ("levels", "height", "width")
    query = (
        update(HeatmapRow)
        .where(*(getattr(HeatmapRow, name) == bindparam(f"of_{name}") for name in key))
        .where(HeatmapRow.levels.is_(None))
        .values({name: bindparam(f"new_{name}") for name in given})
    )
    values = [
        {f"of_{name}": getattr(one, name) for name in key}
        | {f"new_{name}": getattr(one, name) for name in given}
        for one in heatmaps
        if one.levels is not None
    ]
    if values:
        # By the connection: a session takes a list of values as whole rows, found by their id.
        session.connection().execute(query, values)


class MapLevels(NamedTuple):
    """A map in levels, with what scales them."""

    epoch: int
    method: str
    image: str
    class_index: int
    peak: float
    minimum: float
    blank: str
    levels: bytes

    @classmethod
    def from_heatmap(cls, heatmap: Heatmap) -> "MapLevels":
        """Of a map just made, which has its levels."""
        return cls(*(getattr(heatmap, name) for name in cls._fields))


def list_levels(
    session: Session,
    run_id: int,
    layer: str,
    methods: Sequence[str],
    images: Sequence[str],
    classes: Sequence[int],
    epochs: tuple[int, int],
) -> list[MapLevels]:
    """Maps of those methods, images and classes from the first to the last of two epochs."""
    query = select(*(getattr(HeatmapRow, name) for name in MapLevels._fields)).where(
        HeatmapRow.run_id == run_id,
        is_visible(run_id),
        HeatmapRow.layer == layer,
        HeatmapRow.method.in_(methods),
        HeatmapRow.image.in_(images),
        HeatmapRow.class_index.in_(classes),
        HeatmapRow.epoch.between(*epochs),
        HeatmapRow.levels.is_not(None),
    )
    return [MapLevels(*row) for row in session.execute(query)]


def list_for_image(
    session: Session, run_id: int, image: str, class_index: int | None, method: str, layer: str
) -> list[Heatmap]:
    """Those of one image, class (None: any), method and layer, by epoch."""
    query = (
        select(*_COLUMNS)
        .where(
            HeatmapRow.run_id == run_id,
            is_visible(run_id),
            HeatmapRow.image == image,
            HeatmapRow.method == method,
            HeatmapRow.layer == layer,
        )
        .order_by(HeatmapRow.epoch)
    )
    if class_index is not None:
        query = query.where(HeatmapRow.class_index == class_index)
    return [_value(row) for row in session.execute(query)]


def list_for_epoch(session: Session, run_id: int, epoch: int) -> list[Heatmap]:
    """All of an epoch's, with their levels, by image, class, method and layer."""
    query = (
        select(*_COLUMNS, HeatmapRow.levels)
        .where(HeatmapRow.run_id == run_id, HeatmapRow.epoch == epoch, is_visible(run_id))
        .order_by(HeatmapRow.image, HeatmapRow.class_index, HeatmapRow.method, HeatmapRow.layer)
    )
    return [replace(_value(row), levels=row.levels) for row in session.execute(query)]


def list_for_probes(
    session: Session, run_id: int, layer: str, method: str | None = None
) -> list[Heatmap]:
    """Those of the run's probes for their own labels, by epoch, method and the probes' order."""
    query = _of_probes(select(*_COLUMNS), run_id, layer)
    if method is not None:
        query = query.where(HeatmapRow.method == method)
    query = query.order_by(HeatmapRow.epoch, HeatmapRow.method, ProbeRow.position)
    return [_value(row) for row in session.execute(query)]


def _of_probes(
    columns: Select[*tuple[Any, ...]], run_id: int, layer: str
) -> Select[*tuple[Any, ...]]:
    return (
        columns.join(ProbeRow, ProbeRow.run_id == HeatmapRow.run_id)
        .join(
            ImageRow,
            (ImageRow.id == ProbeRow.image_id)
            & (ImageRow.reference == HeatmapRow.image)
            & (ImageRow.label == HeatmapRow.class_index),
        )
        .where(HeatmapRow.run_id == run_id, HeatmapRow.layer == layer, is_visible(run_id))
    )


@dataclass(frozen=True)
class Extremes:
    """What decides whether maps are blank, as columns (N,)."""

    epochs: npt.NDArray[np.int64]
    peaks: npt.NDArray[np.float64]
    minima: npt.NDArray[np.float64]
    activation_peaks: npt.NDArray[np.float64]

    @classmethod
    def from_heatmaps(cls, rows: Sequence[Heatmap]) -> "Extremes":
        """Those of maps whose rows are there."""
        return cls.from_rows(
            [(row.epoch, row.peak, row.minimum, row.activation_peak) for row in rows]
        )

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[float]]) -> "Extremes":
        """From rows of epoch, peak, minimum and activation peak."""
        table = np.array(rows, np.float64).reshape(-1, 4)
        return cls(table[:, 0].astype(np.int64), table[:, 1], table[:, 2], table[:, 3])

    @classmethod
    def concatenate(cls, *parts: "Extremes") -> "Extremes":
        """The parts one after another."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def at_epochs(self, epochs: npt.NDArray[np.int64]) -> "Extremes":
        """Those of some epochs."""
        chosen = np.isin(self.epochs, epochs)
        return Extremes(*(column[chosen] for column in vars(self).values()))


def get_probe_extremes(session: Session, run_id: int, layer: str, method: str) -> Extremes:
    """Those of the run's probes for their own labels."""
    query = _of_probes(
        select(HeatmapRow.epoch, HeatmapRow.peak, HeatmapRow.minimum, HeatmapRow.activation_peak),
        run_id,
        layer,
    ).where(HeatmapRow.method == method)
    return Extremes.from_rows([tuple(row) for row in session.execute(query)])


def _value(row: Row[*tuple[Any, ...]]) -> Heatmap:
    # By place, in _COLUMNS' order: by name it would be most of what a page of blanks costs.
    return Heatmap(**dict(zip(_METADATA, row, strict=False)))
