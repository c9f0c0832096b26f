"""A report: what there is to be seen of a run, as one HTML file for whoever has no service."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from service import __version__
from service.core.cams.blank import DEFAULT_EPSILON
from service.core.cams.explanation import MethodSpec
from service.core.cams.methods import PAPER_METHODS
from service.core.render.report.content import EpochFacts, Maps, MethodFacts, Report, RunFacts
from service.core.render.report.languages import Language
from service.core.render.report.page import page
from service.core.spec import RunSpec
from service.errors import EpochNotFound
from service.flows.blanks import count_blanks
from service.flows.etags import etag_of
from service.flows.heatmaps import MAX_CELLS, Picture, Pictures, Rendering
from service.flows.selection import Chosen, choose_epochs
from service.flows.viewing import Query, Subject
from service.store import epochs, runs
from service.store.epochs import Epoch
from service.store.runs import Run

REPORT_VERSION = 1
"""Part of every report's etag: raised when the same run would be told otherwise."""

COLUMNS = 51  # the paper's 100 epochs and the untrained network, every second one
COLORMAP = "viridis"
CELL_PIXELS = (44, 80)  # larger where a sheet has few epochs
SHEET_WIDTH, SHEET_HEIGHT = 1_200, 12_000  # aimed at; browsers refuse pictures that are far taller

Item = TypeVar("Item")


@dataclass(frozen=True)
class ReportQuery:
    """What a report is asked to tell."""

    run_id: int
    methods: Sequence[str] = PAPER_METHODS  # explanations' texts
    epochs: str = "0:"
    language: Language = "en"


@dataclass(frozen=True)
class _Described:
    """A report before anything is drawn or counted."""

    run: Run
    spec: RunSpec
    epochs: list[Epoch]
    quarantined: list[int]
    shown: list[int]
    step: int
    methods: list[MethodFacts]
    rows: int
    sheets: list[Picture]


def run_report(pictures: Pictures, asked: ReportQuery) -> Picture:
    """The report of a run as it stands; drawing it may compute maps.

    Raises RunNotFound, InvalidValue, UnknownName, EpochNotFound.
    """
    described = _describe(pictures, asked)
    etag = _etag(described, asked)
    return Picture(
        etag,
        lambda: page(_told(pictures, described, asked), asked.language),
        described.quarantined,
    )


def sampled(items: Sequence[Item], most: int) -> tuple[list[Item], int]:
    """At most so many (2 or more), evenly spaced: one in every `step`, and the last."""
    step = max(1, -(-(len(items) - 1) // (most - 1)))
    chosen = list(items[::step])
    if items and (len(items) - 1) % step:
        chosen.append(items[-1])
    return chosen, step


def _describe(pictures: Pictures, asked: ReportQuery) -> _Described:
    viewer = pictures.viewer
    with viewer.store.read_session() as session:
        run = runs.get(session, asked.run_id)
        there = epochs.list_epochs(session, asked.run_id)
    found = _chosen(there, asked)
    chosen = found.epochs
    # By text: an explanation that is asked for twice is told once.
    explanations = list({str(one): one for one in map(MethodSpec.parse, asked.methods)}.values())
    queries = [Query.explained(asked.run_id, explanation) for explanation in explanations]
    subjects = viewer.probe_subjects_of(queries)
    rows = len(subjects[0])
    columns = min(COLUMNS, MAX_CELLS // rows) if rows else COLUMNS
    shown, step = sampled([epoch.epoch for epoch in chosen], columns)
    sheets = []
    if rows and shown:
        text = ",".join(map(str, shown))
        rendering = Rendering(colormap=COLORMAP, size=_cell_pixels(rows, len(shown)))
        sheets = [pictures.sheet(query, text, rendering) for query in queries]
    methods = [
        _method(explanation, found)
        for explanation, found in zip(explanations, subjects, strict=True)
    ]
    spec = RunSpec.model_validate(run.spec)
    return _Described(run, spec, chosen, found.quarantined, shown, step, methods, rows, sheets)


def _chosen(there: Sequence[Epoch], asked: ReportQuery) -> Chosen:
    try:
        return choose_epochs(asked.epochs, asked.run_id, there)
    except EpochNotFound:
        if there:
            raise
        return Chosen([], [])  # A run that has none yet has a report that says so.


def _cell_pixels(rows: int, columns: int) -> int:
    low, high = CELL_PIXELS
    return max(16, min(high, max(low, SHEET_WIDTH // columns), SHEET_HEIGHT // rows))


def _told(pictures: Pictures, described: _Described, asked: ReportQuery) -> Report:
    return Report(
        run=_run(described),
        asked_epochs=asked.epochs,
        epochs=[_epoch(epoch) for epoch in described.epochs],
        shown=described.shown,
        step=described.step,
        methods=described.methods,
        maps=_maps(pictures, described) if described.sheets else [],
        epsilon=DEFAULT_EPSILON,
        colormap=COLORMAP,
        version=__version__,
    )


def _maps(pictures: Pictures, described: _Described) -> list[Maps]:
    texts = [method.text for method in described.methods]
    numbers = ",".join(str(epoch.epoch) for epoch in described.epochs)
    run_id = described.run.id
    table = count_blanks(pictures.viewer, run_id, numbers, DEFAULT_EPSILON, texts)
    return [
        Maps(
            method,
            sheet.draw(),
            described.rows,
            table.methods[method.text].total // len(described.epochs),
            {epoch: counts[method.text].blank for epoch, counts in table.per_epoch.items()},
            table.methods[method.text].total,
            table.methods[method.text].blank,
            table.methods[method.text].by_cause,
        )
        for method, sheet in zip(described.methods, described.sheets, strict=True)
    ]


def _run(described: _Described) -> RunFacts:
    run, source = described.run, described.spec.source
    return RunFacts(
        id=run.id,
        name=run.name,
        tags=run.tags,
        status=run.status,
        error=run.error.detail if run.error else None,
        epochs_done=run.epochs_done,
        epochs_total=run.epochs_total,
        dataset=source.title,
        class_names=source.class_names,
        spec=run.spec,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
    )


def _epoch(epoch: Epoch) -> EpochFacts:
    return EpochFacts(
        epoch=epoch.epoch,
        **vars(epoch.metrics),
        checkpoint=epoch.checkpoint.sha256,
        created_at=epoch.created_at,
    )


def _method(explanation: MethodSpec, subjects: Sequence[Subject]) -> MethodFacts:
    method = explanation.method
    return MethodFacts(
        text=str(explanation),
        title=method.title,
        formula=method.formula,
        source=method.source,
        year=method.year,
        layer=subjects[0].layer if subjects else None,
    )


def _etag(described: _Described, asked: ReportQuery) -> str:
    return etag_of(
        *("report", REPORT_VERSION, asked.language, asked.epochs),
        _run(described),
        [_epoch(epoch) for epoch in described.epochs],
        *(described.methods, described.quarantined, described.rows, described.shown),
        [sheet.etag for sheet in described.sheets],
    )
