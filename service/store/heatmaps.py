"""Queries on heatmaps: metadata of class activation maps, and their quantized values."""

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
    """Metadata of one map. Peaks and minimum are unscaled, and infinite or NaN if the map or the
    layer's activations are not finite.
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
    levels: bytes | None = None  # uint8, height x width; None in queries for metadata
    height: int | None = None
    width: int | None = None


EXTREME_FIELDS = ("peak", "minimum", "activation_peak")
"""Fields of a Heatmap that may be infinite or NaN."""

# Columns, not ORM entities: a run's page reads thousands of rows in one request.
_METADATA = tuple(field.name for field in fields(Heatmap) if field.name != "levels")
_COLUMNS = tuple(getattr(HeatmapRow, name) for name in _METADATA)


def add_missing(session: Session, heatmaps: Iterable[Heatmap]) -> None:
    """Insert the heatmaps that are missing. The map of a checkpoint never changes."""
    created_at = datetime.now(UTC)
    rows = [
        asdict(heatmap) | _storable_extremes(heatmap) | {"created_at": created_at}
        for heatmap in heatmaps
    ]
    insert_missing(session, HeatmapRow, rows)


def _storable_extremes(heatmap: Heatmap) -> dict[str, float]:
    """The extremes with NaN replaced by infinity: SQLite stores NaN as NULL."""
    extremes = {name: getattr(heatmap, name) for name in EXTREME_FIELDS}
    return {name: math.inf if math.isnan(value) else value for name, value in extremes.items()}


def add_or_complete(session: Session, heatmaps: Sequence[Heatmap]) -> None:
    """Insert missing heatmaps, and add the levels to those stored without by an older schema."""
    add_missing(session, heatmaps)
    key = ("run_id", "image", "class_index", "method", "layer", "epoch")
    level_columns = ("levels", "height", "width")
    query = (
        update(HeatmapRow)
        .where(*(getattr(HeatmapRow, name) == bindparam(f"of_{name}") for name in key))
        .where(HeatmapRow.levels.is_(None))
        .values({name: bindparam(f"new_{name}") for name in level_columns})
    )
    values = [
        {f"of_{name}": getattr(heatmap, name) for name in key}
        | {f"new_{name}": getattr(heatmap, name) for name in level_columns}
        for heatmap in heatmaps
        if heatmap.levels is not None
    ]
    if values:
        # On the connection: a session would take the list for a bulk update by primary key.
        session.connection().execute(query, values)


class MapLevels(NamedTuple):
    """A map quantized to 256 levels, and the extremes that scale them."""

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
        """From a heatmap that has its levels."""
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
    """Maps of those methods, images and classes. `epochs` is the first and the last epoch."""
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


class ProbeLevels(NamedTuple):
    """A map of a probe for its own label, quantized to 256 levels."""

    run_id: int
    epoch: int
    image: str
    peak: float
    minimum: float
    blank: str
    levels: bytes
    height: int
    width: int


def list_probe_levels(
    session: Session,
    run_id: int,
    layer: str,
    method: str,
    epochs: Sequence[int],
    *,
    class_index: int | None = None,
    image: str | None = None,
) -> list[ProbeLevels]:
    """Maps of the run's probes for their own labels, of one class or one image."""
    columns = (getattr(HeatmapRow, name) for name in ProbeLevels._fields)
    query = _join_probes(select(*columns), run_id, layer).where(
        HeatmapRow.method == method,
        HeatmapRow.epoch.in_(epochs),
        HeatmapRow.levels.is_not(None),
    )
    if class_index is not None:
        query = query.where(HeatmapRow.class_index == class_index)
    if image is not None:
        query = query.where(HeatmapRow.image == image)
    query = query.order_by(HeatmapRow.epoch, ProbeRow.position)
    return [ProbeLevels(*row) for row in session.execute(query)]


def list_for_image(
    session: Session, run_id: int, image: str, class_index: int | None, method: str, layer: str
) -> list[Heatmap]:
    """Heatmaps of an image, class (None: any), method and layer, by epoch, without levels."""
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
    """All heatmaps of an epoch with their levels, by image, class, method and layer."""
    query = (
        select(*_COLUMNS, HeatmapRow.levels)
        .where(HeatmapRow.run_id == run_id, HeatmapRow.epoch == epoch, is_visible(run_id))
        .order_by(HeatmapRow.image, HeatmapRow.class_index, HeatmapRow.method, HeatmapRow.layer)
    )
    return [replace(_value(row), levels=row.levels) for row in session.execute(query)]


def list_for_probes(
    session: Session, run_id: int, layer: str, method: str | None = None
) -> list[Heatmap]:
    """Heatmaps of the run's probes for their own labels, by epoch, method and position."""
    query = _join_probes(select(*_COLUMNS), run_id, layer)
    if method is not None:
        query = query.where(HeatmapRow.method == method)
    query = query.order_by(HeatmapRow.epoch, HeatmapRow.method, ProbeRow.position)
    return [_value(row) for row in session.execute(query)]


def _join_probes(
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
    """The values that decide whether N maps are blank, as columns of shape (N,)."""

    epochs: npt.NDArray[np.int64]
    peaks: npt.NDArray[np.float64]
    minima: npt.NDArray[np.float64]
    activation_peaks: npt.NDArray[np.float64]

    @classmethod
    def from_heatmaps(cls, rows: Sequence[Heatmap]) -> "Extremes":
        """The extremes of heatmaps, in their order."""
        return cls.from_rows(
            [(row.epoch, row.peak, row.minimum, row.activation_peak) for row in rows]
        )

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[float]]) -> "Extremes":
        """From N rows of (epoch, peak, minimum, activation peak)."""
        table = np.array(rows, np.float64).reshape(-1, 4)
        return cls(table[:, 0].astype(np.int64), table[:, 1], table[:, 2], table[:, 3])

    @classmethod
    def concatenate(cls, *tables: "Extremes") -> "Extremes":
        """All extremes in one table, in the order given."""
        columns = zip(*(vars(table).values() for table in tables), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def at_epochs(self, epochs: npt.NDArray[np.int64]) -> "Extremes":
        """The rows of those epochs."""
        mask = np.isin(self.epochs, epochs)
        return Extremes(*(column[mask] for column in vars(self).values()))


def get_probe_extremes(session: Session, run_id: int, layer: str, method: str) -> Extremes:
    """Extremes of the maps of the run's probes for their own labels."""
    query = _join_probes(
        select(HeatmapRow.epoch, HeatmapRow.peak, HeatmapRow.minimum, HeatmapRow.activation_peak),
        run_id,
        layer,
    ).where(HeatmapRow.method == method)
    return Extremes.from_rows([tuple(row) for row in session.execute(query)])


def _value(row: Row[*tuple[Any, ...]]) -> Heatmap:
    # By position, in the order of _COLUMNS: access by name dominates the time of large queries.
    return Heatmap(**dict(zip(_METADATA, row, strict=False)))
