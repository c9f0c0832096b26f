"""Queries on maps' metadata."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.insert_missing import insert_missing
from service.store.tables import HeatmapRow, ImageRow, ProbeRow


@dataclass(frozen=True)
class Heatmap:
    """What is known of one map. Peaks and minimum are unscaled; see `core/cams/blank.py`."""

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


def keep(session: Session, heatmaps: Iterable[Heatmap]) -> None:
    """Insert those that are not there yet: a map of a checkpoint never changes."""
    rows = [asdict(heatmap) | {"created_at": datetime.now(UTC)} for heatmap in heatmaps]
    insert_missing(session, HeatmapRow, rows)


def of_image(
    session: Session, run_id: int, image: str, class_index: int, method: str, layer: str
) -> list[Heatmap]:
    """Those of one image, class, method and layer, by epoch."""
    query = (
        select(HeatmapRow)
        .where(
            HeatmapRow.run_id == run_id,
            HeatmapRow.image == image,
            HeatmapRow.class_index == class_index,
            HeatmapRow.method == method,
            HeatmapRow.layer == layer,
        )
        .order_by(HeatmapRow.epoch)
    )
    return [_value(row) for row in session.scalars(query)]


def of_probes(session: Session, run_id: int, layer: str) -> list[Heatmap]:
    """Those of the run's probes for their own labels, by epoch, method and the probes' order."""
    query = (
        select(HeatmapRow)
        .join(ProbeRow, ProbeRow.run_id == HeatmapRow.run_id)
        .join(
            ImageRow,
            (ImageRow.id == ProbeRow.image_id)
            & (ImageRow.reference == HeatmapRow.image)
            & (ImageRow.label == HeatmapRow.class_index),
        )
        .where(HeatmapRow.run_id == run_id, HeatmapRow.layer == layer)
        .order_by(HeatmapRow.epoch, HeatmapRow.method, ProbeRow.position)
    )
    return [_value(row) for row in session.scalars(query)]


def _value(row: HeatmapRow) -> Heatmap:
    return Heatmap(
        row.run_id,
        row.epoch,
        row.image,
        row.class_index,
        row.method,
        row.layer,
        row.peak,
        row.minimum,
        row.activation_peak,
        row.blank,
        row.etag,
    )
