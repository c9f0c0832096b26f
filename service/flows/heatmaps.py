"""Pictures of a run: single maps, strips and sheets.

Each picture is first described, which costs no torch, then drawn if its etag is new to the client.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from service.core.cams import DEFAULT_EPSILON
from service.core.cams.maps import Blank, ClassMap
from service.core.cams.method import AttributionLevel
from service.core.images import from_png
from service.core.progress import progress_slice
from service.core.render.animation import render_animation
from service.core.render.cells import Cell, Scale, Style
from service.core.render.colormaps import COLORMAPS, DIVERGING_DEFAULT, SEQUENTIAL_DEFAULT
from service.core.render.sheet import CellStyle, render_contact_sheet, render_strip
from service.core.render.single import render_map
from service.errors import ImageNotFound, UnknownName
from service.flows.cache import Cache
from service.flows.etags import etag_of
from service.flows.selection import Chosen, check_cells, choose_epochs
from service.flows.viewing import Query, Subject, Viewer
from service.store.epochs import Epoch
from service.store.heatmaps import Extremes, Heatmap

RENDER_VERSION = 1
"""Part of every picture's etag: raised when the same request would draw other pixels."""

MAX_CELLS = 5_000
COMPUTING_SHARE = 0.8
"""Of the time that a page takes: the rest is drawing."""

PICTURES_BYTES = 64 * 2**20


class ScaleName(StrEnum):
    """Which maps share their lowest and highest colour."""

    MAP = "map"  # none: equation 3, each map its own
    STRIP = "strip"  # all epochs of this image, class and method
    RUN = "run"  # all epochs of all the run's probes, by this method; without probes as `strip`


@dataclass(frozen=True)
class Rendering:
    """How a picture is to be drawn; `colormap` None takes the style's default."""

    style: Style = Style.OVERLAY
    scale: ScaleName = ScaleName.MAP
    colormap: str | None = None
    size: int = 224

    @property
    def look(self) -> CellStyle:
        """With the style's own colormap filled in. Raises UnknownName."""
        default = DIVERGING_DEFAULT if self.style is Style.SIGNED else SEQUENTIAL_DEFAULT
        name = self.colormap or default
        if name not in COLORMAPS:
            raise UnknownName("colormap", name, COLORMAPS)
        return CellStyle(self.style, name, self.size)


@dataclass(frozen=True)
class Picture:
    """A picture described: its etag, which stands for everything drawn, and how to draw it."""

    etag: str
    draw: Callable[[], bytes]
    quarantined: Sequence[int] = ()
    """Epochs that were asked for and are not in it: their checkpoints are bad."""


@dataclass(frozen=True, kw_only=True)
class CamPicture(Picture):
    """One map's picture, with what the headers tell of the map."""

    row: Callable[[], Heatmap]


@dataclass(frozen=True)
class CamNumbers:
    """One map's numbers described: their etag, and how to compute them."""

    etag: str
    subject: Subject
    compute: Callable[[], "CamValues"]


@dataclass(frozen=True)
class CamValues:
    """One map's numbers."""

    subject: Subject
    epoch: int
    seen: ClassMap
    scores: dict[str, float]  # softmax's probability by class name


class Pictures:
    """Draws what a Viewer sees; keeps the latest pictures."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self._drawn: Cache[bytes] = Cache(PICTURES_BYTES, len)

    @property
    def cache(self) -> Cache[bytes]:
        """The latest pictures, to be counted."""
        return self._drawn

    def cam(self, query: Query, epoch: int, rendering: Rendering) -> CamPicture:
        """One map as PNG."""
        asked = self.viewer.subject(query)
        at = self.viewer.epoch(query.run_id, epoch)
        look = rendering.look
        scale = self._shared_scale(asked, rendering.scale)
        subject = self.viewer.at(asked, at)
        etag = _etag("cam", [subject.identity(at)], look, scale)

        def draw() -> bytes:
            return render_map(
                self._cell(subject, at, scale), look.style, look.colormap, look.cell_pixels
            )

        return CamPicture(
            etag,
            lambda: self._drawn.get_or_make(etag, draw),
            row=lambda: self.viewer.rows(subject, [at])[0],
        )

    def cam_numbers(self, query: Query, epoch: int) -> CamNumbers:
        """One map's numbers, unscaled."""
        at = self.viewer.epoch(query.run_id, epoch)
        subject = self.viewer.at(self.viewer.subject(query), at)
        etag = _etag("numbers", [subject.identity(at)])
        return CamNumbers(etag, subject, lambda: self._cam_values(subject, at))

    def _cam_values(self, subject: Subject, at: Epoch) -> CamValues:
        (maps,) = self.viewer.maps(at, [subject])
        seen = maps.class_map(subject.method, 0, subject.class_index)
        self.viewer.keep([subject.heatmap(at, seen)])
        names = subject.spec.source.class_names
        scores = dict(zip(names, map(float, maps.probabilities[0]), strict=True))
        return CamValues(subject, at.epoch, seen, scores)

    def strip(self, query: Query, epochs: str, rendering: Rendering, kind: str = "png") -> Picture:
        """One cell an epoch: a PNG page, or an animation (`webp`, `gif`)."""
        subject, found = self._strip(query, epochs)
        chosen = found.epochs
        look = rendering.look
        scale = self._shared_scale(subject, rendering.scale)
        identities = self._identities(subject, chosen)
        numbers = [str(epoch.epoch) for epoch in chosen]
        what = f"{subject.image.reference} for class {_class(subject)}, {subject.method}"
        title = f"Run {subject.run.id}: {what}{_told(found.quarantined)}"
        etag = _etag(f"strip.{kind}", identities, look, scale, numbers, title)

        def draw() -> bytes:
            with progress_slice(0, COMPUTING_SHARE):
                cells = self._cells([subject], chosen, [scale])[0]
            if kind != "png":
                return render_animation(
                    cells, [f"epoch {number}" for number in numbers], look, kind
                )
            return render_strip(cells, numbers, look, title)

        return Picture(etag, lambda: self._drawn.get_or_make(etag, draw), found.quarantined)

    def strip_npz(self, query: Query, epochs: str) -> Picture:
        """The strip's numbers: `signed` and `maps` float32 (E, H, W), unscaled, and `epochs`."""
        subject, found = self._strip(query, epochs)
        chosen = found.epochs
        identities = self._identities(subject, chosen)
        etag = _etag("strip.npz", identities)

        def draw() -> bytes:
            cells = self._cells([subject], chosen, [None])[0]
            seen = np.stack([cell.class_map.signed for cell in cells])
            out = io.BytesIO()
            np.savez_compressed(
                out,
                signed=seen,
                maps=np.maximum(seen, 0),
                epochs=np.array([epoch.epoch for epoch in chosen]),
            )
            return out.getvalue()

        return Picture(etag, lambda: self._drawn.get_or_make(etag, draw), found.quarantined)

    def sheet(self, query: Query, epochs: str, rendering: Rendering) -> Picture:
        """The paper's figures 6 and 7: rows probes, columns epochs, blank cells marked."""
        subjects = self.viewer.probe_subjects(query)
        if not subjects:
            raise ImageNotFound("by default", "the run has no probes yet")
        found = self._chosen(query.run_id, epochs)
        chosen = found.epochs
        check_cells(len(subjects), [epoch.epoch for epoch in chosen], MAX_CELLS)
        look = rendering.look
        scales = [self._shared_scale(subject, rendering.scale) for subject in subjects]
        identities = [self._identities(subject, chosen) for subject in subjects]
        heads = [_class(subject) for subject in subjects]
        numbers = [str(epoch.epoch) for epoch in chosen]
        run, source = subjects[0].run, subjects[0].spec.source
        title = f"Run {run.id}, {source.title}: {_title(subjects[0])}"
        left_out = _told(found.quarantined)
        etag = _etag(
            *("sheet", identities, look, scales, heads, numbers),
            *(title, rendering.scale, DEFAULT_EPSILON, left_out),
        )

        def draw() -> bytes:
            with progress_slice(0, COMPUTING_SHARE):
                rows = self._cells(subjects, chosen, scales)
            legend = _legend([cell.blank_cause for row in rows for cell in row], rendering.scale)
            return render_contact_sheet(rows, heads, numbers, look, title, legend + left_out)

        return Picture(etag, lambda: self._drawn.get_or_make(etag, draw), found.quarantined)

    def _strip(self, query: Query, epochs: str) -> tuple[Subject, Chosen]:
        subject = self.viewer.subject(query)
        found = self._chosen(query.run_id, epochs)
        check_cells(1, [epoch.epoch for epoch in found.epochs], MAX_CELLS)
        return subject, found

    def _chosen(self, run_id: int, epochs: str) -> Chosen:
        return choose_epochs(epochs, run_id, self.viewer.epochs(run_id))

    def _identities(self, subject: Subject, chosen: Sequence[Epoch]) -> list[object]:
        there = self.viewer.at_each(subject, chosen)
        return [one.identity(epoch) for one, epoch in zip(there, chosen, strict=True)]

    def _cell(self, subject: Subject, epoch: Epoch, scale: Scale | None) -> Cell:
        return self._cells([subject], [epoch], [scale])[0][0]

    def _cells(
        self, subjects: Sequence[Subject], chosen: Sequence[Epoch], scales: Sequence[Scale | None]
    ) -> list[list[Cell]]:
        """Cells by subject and epoch; each epoch's network is run once for all subjects."""
        rows: list[list[Cell]] = [[] for _ in subjects]
        place = self.viewer.placement(subjects[0])
        pixels = [from_png(subject.image.png) for subject in subjects]
        resolved = zip(*(self.viewer.at_each(one, chosen) for one in subjects), strict=True)
        columns = list(zip(chosen, resolved, strict=True))
        for (_, there), maps in zip(columns, self.viewer.maps_over(columns), strict=True):
            for i, subject in enumerate(there):
                seen = maps[i].class_map(subject.method, 0, subject.class_index).copy()
                cell = Cell(seen, scales[i] or Scale.from_map(seen), pixels[i], place)
                rows[i].append(cell)
        return rows

    def _shared_scale(self, subject: Subject, name: ScaleName) -> Scale | None:
        """The scale over all epochs so far of one subject, or of all probes; None: each its own."""
        if name is ScaleName.MAP:
            return None
        # Quarantined epochs have no part in it: their maps could not be checked against anything.
        there = self._chosen(subject.run.id, ":").epochs
        probes = self.viewer.probes_like(subject) if name is ScaleName.RUN else []
        labelled = [one for one in probes if not one.predicted]
        others = [one for one in probes if one.predicted] if probes else [subject]
        extremes = Extremes.concatenate(
            self.viewer.probe_extremes(labelled, there),
            *(Extremes.from_heatmaps(self.viewer.rows(one, there)) for one in others),
        )
        minima, peaks = extremes.minima, extremes.peaks
        finite = np.isfinite(minima) & np.isfinite(peaks)
        return Scale(
            float(minima[finite].min()) if finite.any() else 0.0,
            float(peaks[finite].max()) if finite.any() else 0.0,
        )


def _class(subject: Subject) -> str:
    return (
        "predicted" if subject.predicted else subject.spec.source.class_names[subject.class_index]
    )


def _title(subject: Subject) -> str:
    method = subject.explanation.method
    layer = "" if method.attribution_level is AttributionLevel.INPUT else f", {subject.layer}"
    return f"{method.title} ({subject.method}{layer})"


def _legend(blanks: Sequence[Blank], scale: ScaleName) -> str:
    blank = sum(cause is not Blank.NONE for cause in blanks)
    return (
        f"{blank} of {len(blanks)} blank (peak <= {DEFAULT_EPSILON:g} before scaling); "
        f"one scale a {scale.value}"
    )


def _told(quarantined: Sequence[int]) -> str:
    numbers = ", ".join(map(str, quarantined))
    return f"; without quarantined epochs: {numbers}" if numbers else ""


def _etag(kind: str, identities: Sequence[object], *drawn: object) -> str:
    return etag_of(kind, RENDER_VERSION, identities, *drawn)
