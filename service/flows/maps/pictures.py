"""Rendered maps: single maps, strips over the epochs, and contact sheets of all probes."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from service.core.cams import DEFAULT_EPSILON
from service.core.cams.layers import map_placement
from service.core.cams.maps import Blank, ClassMap
from service.core.models import Placement
from service.core.progress import progress_slice
from service.core.render import DEFAULT_OPACITY
from service.core.render.animation import AccuracyCurves, render_animation
from service.core.render.captions import legend, sheet_title, strip_title
from service.core.render.cells import Cell, Scale, Style
from service.core.render.colormaps import COLORMAPS, DIVERGING_DEFAULT, SEQUENTIAL_DEFAULT
from service.core.render.sheet import CellStyle, render_contact_sheet, render_strip
from service.core.render.single import render_map
from service.errors import EpochQuarantined, ImageNotFound, UnknownName
from service.flows.cache import Cache
from service.flows.identity import identity_of
from service.flows.maps.compute import Column, select_map
from service.flows.maps.deferred import Deferred, Result
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.request import MapQuery, MapRequest, MapSeries
from service.flows.maps.scales import (
    ScaleName,
    default_scale_name,
    row_scales,
    shared_scale,
)
from service.flows.maps.selection import EpochSelection, check_cells

RENDER_VERSION = 3
"""Part of every picture's identity: raised when the same request would draw other pixels."""

MAX_CELLS = 5_000
COMPUTING_SHARE = 0.8
"""Of the time that a page takes; the rest is drawing."""

SHEET_SCALE_NOTES = {
    ScaleName.MAP: "one scale per map",
    ScaleName.STRIP: "one scale per row",
    ScaleName.RUN: "one scale for the run",
}
STRIP_SCALE_NOTES = SHEET_SCALE_NOTES | {ScaleName.STRIP: "one scale for all epochs"}


@dataclass(frozen=True)
class Rendering:
    """How a picture is drawn; `size` is in pixels.

    `scale` None takes the default of the kind of picture and method (see `default_scale_name`),
    `colormap` None that of the style. `opacity`, 0..1, is that of an overlay's colors at the top of
    the scale.
    """

    style: Style = Style.OVERLAY
    scale: ScaleName | None = None
    colormap: str | None = None
    size: int = 224
    opacity: float = DEFAULT_OPACITY

    @property
    def cell_style(self) -> CellStyle:
        """With defaults filled in, and for what the style ignores. Raises UnknownName."""
        default = DIVERGING_DEFAULT if self.style is Style.SIGNED else SEQUENTIAL_DEFAULT
        name = self.colormap or default
        if name not in COLORMAPS:
            raise UnknownName("colormap", name, COLORMAPS)
        is_overlay = self.style is Style.OVERLAY
        return CellStyle(
            self.style, name, self.size, self.opacity if is_overlay else DEFAULT_OPACITY
        )


@dataclass(frozen=True)
class Picture:
    """An encoded picture; of a single map also its peak (unscaled) and blank cause."""

    content: bytes
    peak: float | None = None
    blank_cause: Blank | None = None


@dataclass(frozen=True)
class MapValues:
    """The numbers of one map."""

    request: MapRequest
    class_map: ClassMap
    scores: dict[str, float]  # softmax's probability by class name


class MapPictures:
    """Renders maps, and caches the latest pictures."""

    def __init__(self, pipeline: MapPipeline) -> None:
        self.pipeline = pipeline
        self.cache: Cache[Result[Picture]] = Cache(
            pipeline.cache_sizes.pictures, lambda result: len(result.value.content)
        )

    def cam(self, query: MapQuery, epoch: int, rendering: Rendering) -> Deferred[Picture]:
        """One map as PNG."""
        request = self.pipeline.resolver.resolve_map(query, epoch)
        style = rendering.cell_style
        scale = shared_scale(self.pipeline, request.series, rendering.scale or ScaleName.MAP)
        identity = identity_of("cam", RENDER_VERSION, request.identity_parts, style, scale)

        def make() -> Result[Picture]:
            class_map = self.pipeline.computer.class_map(request)
            self.pipeline.note_map(request, class_map)
            cell = Cell(
                class_map,
                scale or Scale.from_map(class_map),
                request.series.pixels,
                _placement(request.series),
            )
            content = render_map(
                cell, style.style, style.colormap, style.cell_pixels, opacity=style.opacity
            )
            picture = Picture(content, class_map.peak, class_map.blank_cause())
            return Result(identity, picture)

        return Deferred(identity, make, cache=self.cache)

    def cam_values(self, query: MapQuery, epoch: int) -> Deferred[MapValues]:
        """One map's numbers, unscaled."""
        request = self.pipeline.resolver.resolve_map(query, epoch)
        identity = identity_of("numbers", RENDER_VERSION, request.identity_parts)

        def make() -> Result[MapValues]:
            (maps,) = self.pipeline.computer.compute([request])
            class_map = select_map(request, maps)
            self.pipeline.note_map(request, class_map)
            class_names = request.series.run.class_names
            scores = dict(zip(class_names, map(float, maps.probabilities[0]), strict=True))
            return Result(identity, MapValues(request, class_map, scores))

        return Deferred(identity, make)

    def strip(self, query: MapQuery, epochs: str, rendering: Rendering) -> Deferred[Picture]:
        """One cell per epoch, as PNG."""
        series, selection = self._resolve_strip(query, epochs)
        style = rendering.cell_style
        scale_name = rendering.scale or default_scale_name(series)
        scale = shared_scale(self.pipeline, series, scale_name)
        title = strip_title(
            series.run_id, series.image.reference, series.class_label, series.method
        )

        def identify(columns: Sequence[Column], shown_epochs: EpochSelection) -> str:
            parts = [request.identity_parts for (request,) in columns]
            return identity_of(
                *("strip", RENDER_VERSION, parts, style, scale, scale_name),
                *(title, DEFAULT_EPSILON, shown_epochs.numbers, shown_epochs.quarantined),
            )

        def draw(cells: Sequence[Sequence[Cell]], shown_epochs: EpochSelection) -> bytes:
            (row,) = cells
            heads = [str(number) for number in shown_epochs.numbers]
            causes = [cell.blank_cause for cell in row]
            footer = legend(causes, STRIP_SCALE_NOTES[scale_name], shown_epochs.quarantined)
            return render_strip(row, heads, style, title, footer)

        return self._defer([series], selection, [scale], identify, draw)

    def animation(
        self,
        queries: Sequence[MapQuery],
        epochs: str,
        rendering: Rendering,
        file_format: str,
        *,
        has_curve: bool = True,
    ) -> Deferred[Picture]:
        """One frame per epoch, `webp` or `gif`: one image by several methods, side by side.

        `has_curve`: the accuracies of the epochs lie below, with a marker.
        """
        # By text: a method that is listed twice appears once.
        resolved, selection = self.pipeline.resolver.resolve_image_series(queries, epochs)
        series = list({item.method_text: item for item in resolved}.values())
        check_cells(len(series), selection.numbers, MAX_CELLS)
        style = rendering.cell_style
        scales = [
            shared_scale(self.pipeline, item, rendering.scale or default_scale_name(item))
            for item in series
        ]
        metrics = {epoch.epoch: epoch.metrics for epoch in selection.epochs if has_curve}

        def identify(columns: Sequence[Column], shown_epochs: EpochSelection) -> str:
            parts = [[request.identity_parts for request in column] for column in columns]
            return identity_of(
                *(f"animation.{file_format}", RENDER_VERSION, parts, style, scales),
                *(DEFAULT_EPSILON, [metrics.get(number) for number in shown_epochs.numbers]),
            )

        def draw(cells: Sequence[Sequence[Cell]], shown_epochs: EpochSelection) -> bytes:
            numbers = shown_epochs.numbers
            rows = {item.method_text: row for item, row in zip(series, cells, strict=True)}
            accuracy = (
                AccuracyCurves(
                    numbers,
                    [metrics[number].test_accuracy for number in numbers],
                    [metrics[number].train_accuracy for number in numbers],
                )
                if has_curve
                else None
            )
            captions = [f"epoch {number}" for number in numbers]
            return render_animation(rows, captions, style, file_format, accuracy)

        return self._defer(series, selection, scales, identify, draw)

    def strip_arrays(self, query: MapQuery, epochs: str) -> Deferred[Picture]:
        """The strip's numbers as npz: `signed`, `maps` float32 (E, H, W), unscaled; `epochs`."""
        series, selection = self._resolve_strip(query, epochs)

        def identify(columns: Sequence[Column], shown_epochs: EpochSelection) -> str:
            parts = [request.identity_parts for (request,) in columns]
            return identity_of("strip.npz", RENDER_VERSION, parts, shown_epochs.quarantined)

        def save(cells: Sequence[Sequence[Cell]], shown_epochs: EpochSelection) -> bytes:
            signed = np.stack([cell.class_map.signed for cell in cells[0]])
            file = io.BytesIO()
            np.savez_compressed(
                file,
                signed=signed,
                maps=np.maximum(signed, 0),
                epochs=np.array(shown_epochs.numbers),
            )
            return file.getvalue()

        return self._defer([series], selection, [None], identify, save)

    def sheet(self, query: MapQuery, epochs: str, rendering: Rendering) -> Deferred[Picture]:
        """The paper's figures 6 and 7: rows are probes, columns epochs, blank cells hatched."""
        (rows,), selection = self.pipeline.resolver.resolve_probe_series([query], epochs)
        if not rows:
            raise ImageNotFound("by default", "the run has no probes yet")
        check_cells(len(rows), selection.numbers, MAX_CELLS)
        style = rendering.cell_style
        scale_name = rendering.scale or default_scale_name(rows[0])
        scales = row_scales(self.pipeline, rows, scale_name)
        heads = [series.class_label for series in rows]
        first = rows[0]
        title = sheet_title(first.run_id, first.run.dataset_title, first.method, first.layer)

        def identify(columns: Sequence[Column], shown_epochs: EpochSelection) -> str:
            parts = [[request.identity_parts for request in column] for column in columns]
            return identity_of(
                *("sheet", RENDER_VERSION, parts, style, scales, heads, shown_epochs.numbers),
                *(title, scale_name, DEFAULT_EPSILON, shown_epochs.quarantined),
            )

        def draw(cells: Sequence[Sequence[Cell]], shown_epochs: EpochSelection) -> bytes:
            causes = [cell.blank_cause for row in cells for cell in row]
            footer = legend(causes, SHEET_SCALE_NOTES[scale_name], shown_epochs.quarantined)
            column_heads = [str(number) for number in shown_epochs.numbers]
            return render_contact_sheet(cells, heads, column_heads, style, title, footer)

        return self._defer(rows, selection, scales, identify, draw)

    def _resolve_strip(self, query: MapQuery, epochs: str) -> tuple[MapSeries, EpochSelection]:
        series, selection = self.pipeline.resolver.resolve_series(query, epochs)
        check_cells(1, selection.numbers, MAX_CELLS)
        return series, selection

    def _defer(
        self,
        series: Sequence[MapSeries],
        selection: EpochSelection,
        scales: Sequence[Scale | None],
        identify: Callable[[Sequence[Column], EpochSelection], str],
        draw: Callable[[Sequence[Sequence[Cell]], EpochSelection], bytes],
    ) -> Deferred[Picture]:
        """A picture of all series over the selection, without epochs that turn out damaged."""
        columns, resolved_epochs = self.pipeline.resolver.at_selection(series, selection)
        identity = identify(columns, resolved_epochs)

        def make() -> Result[Picture]:
            with progress_slice(0, COMPUTING_SHARE):
                cells, damage_reasons = self._cells(columns, scales)
            if not damage_reasons:
                picture = Picture(draw(cells, resolved_epochs))
                return Result(identity, picture, resolved_epochs.quarantined)
            shown_epochs = resolved_epochs.without(damage_reasons)
            shown_columns = [c for c in columns if c[0].epoch.epoch not in damage_reasons]
            picture = Picture(draw(cells, shown_epochs))
            shown_identity = identify(shown_columns, shown_epochs)
            return Result(shown_identity, picture, shown_epochs.quarantined)

        return Deferred(identity, make, len(series) * len(columns), self.cache)

    def _cells(
        self, columns: Sequence[Column], scales: Sequence[Scale | None]
    ) -> tuple[list[list[Cell]], dict[int, str]]:
        """Cells by series and epoch, and the reasons of damaged epochs.

        Each epoch's network is run once for all series.
        """
        rows: list[list[Cell]] = [[] for _ in scales]
        placements = [_placement(request.series) for request in columns[0]]
        damage_reasons: dict[int, str] = {}
        all_maps = self.pipeline.computer.compute_columns(columns)
        for column, maps in zip(columns, all_maps, strict=True):
            if isinstance(maps, EpochQuarantined):
                damage_reasons[maps.epoch] = maps.reason
                continue
            for i, (request, class_maps) in enumerate(zip(column, maps, strict=True)):
                class_map = select_map(request, class_maps).copy()
                scale = scales[i] or Scale.from_map(class_map)
                rows[i].append(Cell(class_map, scale, request.series.pixels, placements[i]))
        return rows, damage_reasons


def _placement(series: MapSeries) -> Placement:
    return map_placement(series.layer, series.run.layers)
