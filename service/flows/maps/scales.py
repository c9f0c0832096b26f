"""Color scales that several maps share."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from service.core.cams.methods import PAPER_METHODS
from service.core.render.cells import Scale
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.request import MapSeries
from service.flows.maps.selection import EpochSelection
from service.store.heatmaps import Extremes


class ScaleName(StrEnum):
    """Which maps share their lowest and highest color."""

    MAP = "map"  # none: equation 3, each map has its own scale
    STRIP = "strip"  # all epochs of this image, class and method
    RUN = "run"  # all epochs of all the run's probes, by this method; without probes as `strip`


def shared_scale(pipeline: MapPipeline, series: MapSeries, name: ScaleName) -> Scale | None:
    """The scale over all usable epochs so far; None where each map has its own.

    Rows that are not recorded are computed. Raises EpochQuarantined where no epoch is usable.
    """
    if name is ScaleName.MAP:
        return None
    selection = pipeline.resolver.resolve_epochs(series.run_id)
    sharing = pipeline.resolver.probe_series_like(series) if name is ScaleName.RUN else []
    labeled = [probe for probe in sharing if probe.class_index is not None]
    # A series whose class is predicted has another class, and so other rows, at each epoch.
    unlabeled = [probe for probe in sharing if probe.class_index is None] if sharing else [series]
    extremes = Extremes.concatenate(
        pipeline.rows.extremes_of_probes(labeled, selection)[0],
        *(_extremes(pipeline, series, selection) for series in unlabeled),
    )
    return _finite_scale(extremes)


def row_scales(
    pipeline: MapPipeline, rows: Sequence[MapSeries], name: ScaleName
) -> list[Scale | None]:
    """`shared_scale` of each of at least one series of a run, which differ in image and class."""
    if name is not ScaleName.STRIP:
        return [shared_scale(pipeline, rows[0], name)] * len(rows)
    selection = pipeline.resolver.resolve_epochs(rows[0].run_id)
    return [_finite_scale(_extremes(pipeline, series, selection)) for series in rows]


def default_scale_name(series: MapSeries) -> ScaleName:
    """The scale of maps over the epochs where none is requested.

    `strip` for the paper's two methods: their peaks fall by orders of magnitude, which `map` hides,
    and are recorded at every epoch. `map` for others, whose maps of all epochs would have to be
    computed.
    """
    return ScaleName.STRIP if series.method_text in PAPER_METHODS else ScaleName.MAP


def _extremes(pipeline: MapPipeline, series: MapSeries, selection: EpochSelection) -> Extremes:
    return Extremes.from_heatmaps(pipeline.rows.of_series(series, selection))


def _finite_scale(extremes: Extremes) -> Scale:
    minima, peaks = extremes.minima, extremes.peaks
    is_finite = np.isfinite(minima) & np.isfinite(peaks)
    if not is_finite.any():
        return Scale(0.0, 0.0)
    return Scale(float(minima[is_finite].min()), float(peaks[is_finite].max()))
