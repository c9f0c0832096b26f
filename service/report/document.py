"""The report of a run: choice of epochs and methods, blank counts and contact sheets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from service import __version__
from service.core.cams import DEFAULT_EPSILON
from service.core.cams.methods import PAPER_METHODS, MethodSpec
from service.core.spec import RunSpec
from service.errors import EpochNotFound
from service.flows.blanks import count_blanks
from service.flows.etags import etag_of
from service.flows.heatmaps import MAX_CELLS, Picture, Pictures, Rendering
from service.flows.selection import Chosen, choose_epochs
from service.flows.viewing import Query, Subject
from service.report.content import EpochFacts, MethodFacts, MethodMaps, Report, RunFacts
from service.report.languages import Language
from service.report.rendering import render_report
from service.store import epochs, runs
from service.store.epochs import Epoch
from service.store.runs import Run

REPORT_VERSION = 2
"""Part of every report's identity: raised when the same run gives a different report."""

COLUMNS = 51  # the paper's 100 epochs and the untrained network, every second one
COLORMAP = "viridis"
CELL_PIXELS = (44, 80)  # larger in a sheet with few epochs
SHEET_WIDTH, SHEET_HEIGHT = 1_200, 12_000  # target size: browsers refuse much taller images

Item = TypeVar("Item")


@dataclass(frozen=True)
class ReportQuery:
    """The parameters of a report."""

    run_id: int
    methods: Sequence[str] = PAPER_METHODS  # `layer-cam` or `layer-cam/centered`
    epochs: str = "0:"
    language: Language = "en"


@dataclass(frozen=True)
class _ReportPlan:
    """Everything that a report depends on, before any map is drawn or counted."""

    run: Run
    spec: RunSpec
    epochs: list[Epoch]
    quarantined: list[int]
    sampled_epochs: list[int]
    sampling_step: int
    methods: list[MethodFacts]
    rows: int
    sheets: list[Picture]


def run_report(pictures: Pictures, query: ReportQuery) -> Picture:
    """The report of a run, not yet drawn; drawing it may compute maps.

    Raises RunNotFound, InvalidValue, UnknownName, EpochNotFound.
    """
    plan = _plan(pictures, query)
    return Picture(
        _identity(plan, query),
        lambda: render_report(_report(pictures, plan, query), query.language),
        plan.quarantined,
    )


def sample(items: Sequence[Item], limit: int) -> tuple[list[Item], int]:
    """At most `limit` (>= 2) evenly spaced items, always with the last, and their step."""
    step = max(1, -(-(len(items) - 1) // (limit - 1)))
    sampled = list(items[::step])
    if items and (len(items) - 1) % step:
        sampled.append(items[-1])
    return sampled, step


def _plan(pictures: Pictures, query: ReportQuery) -> _ReportPlan:
    viewer = pictures.viewer
    with viewer.store.read_session() as session:
        run = runs.get(session, query.run_id)
        run_epochs = epochs.list_epochs(session, query.run_id)
    selection = _select_epochs(run_epochs, query)
    # By text: a method that is listed twice appears once.
    parsed = map(MethodSpec.parse, query.methods)
    methods = list({str(method): method for method in parsed}.values())
    queries = [Query.explained(query.run_id, method) for method in methods]
    subjects = viewer.probe_subjects_of(queries)
    rows = len(subjects[0])
    columns = min(COLUMNS, MAX_CELLS // rows) if rows else COLUMNS
    sampled, step = sample([epoch.epoch for epoch in selection.epochs], columns)
    return _ReportPlan(
        run=run,
        spec=RunSpec.model_validate(run.spec),
        epochs=selection.epochs,
        quarantined=selection.quarantined,
        sampled_epochs=sampled,
        sampling_step=step,
        methods=[
            _method_facts(method, method_subjects)
            for method, method_subjects in zip(methods, subjects, strict=True)
        ],
        rows=rows,
        sheets=_sheets(pictures, queries, sampled, rows),
    )


def _sheets(
    pictures: Pictures, queries: Sequence[Query], sampled_epochs: Sequence[int], rows: int
) -> list[Picture]:
    """One contact sheet for each query; none without images or epochs."""
    if not rows or not sampled_epochs:
        return []
    selector = ",".join(map(str, sampled_epochs))
    rendering = Rendering(colormap=COLORMAP, size=_cell_pixels(rows, len(sampled_epochs)))
    return [pictures.sheet(query, selector, rendering) for query in queries]


def _select_epochs(run_epochs: Sequence[Epoch], query: ReportQuery) -> Chosen:
    """The requested epochs. Raises InvalidValue, EpochNotFound."""
    try:
        return choose_epochs(query.epochs, query.run_id, run_epochs)
    except EpochNotFound:
        if run_epochs:
            raise
        return Chosen([], [])  # A run without epochs has a report that says so.


def _cell_pixels(rows: int, columns: int) -> int:
    low, high = CELL_PIXELS
    return max(16, min(high, max(low, SHEET_WIDTH // columns), SHEET_HEIGHT // rows))


def _report(pictures: Pictures, plan: _ReportPlan, query: ReportQuery) -> Report:
    return Report(
        run=_run_facts(plan),
        epoch_selector=query.epochs,
        epochs=[_epoch_facts(epoch) for epoch in plan.epochs],
        sampled_epochs=plan.sampled_epochs,
        sampling_step=plan.sampling_step,
        methods=plan.methods,
        maps=_method_maps(pictures, plan) if plan.sheets else [],
        epsilon=DEFAULT_EPSILON,
        colormap=COLORMAP,
        version=__version__,
    )


def _method_maps(pictures: Pictures, plan: _ReportPlan) -> list[MethodMaps]:
    """Draws the contact sheets and counts the blank maps of all epochs."""
    names = [method.text for method in plan.methods]
    selector = ",".join(str(epoch.epoch) for epoch in plan.epochs)
    table = count_blanks(pictures.viewer, plan.run.id, selector, DEFAULT_EPSILON, names)
    return [
        MethodMaps(
            method=method,
            sheet=sheet.draw(),
            rows=plan.rows,
            maps_per_epoch=table.methods[method.text].total // len(plan.epochs),
            blanks_per_epoch={
                epoch: counts[method.text].blank for epoch, counts in table.per_epoch.items()
            },
            map_count=table.methods[method.text].total,
            blank_count=table.methods[method.text].blank,
            blanks_by_cause=table.methods[method.text].by_cause,
        )
        for method, sheet in zip(plan.methods, plan.sheets, strict=True)
    ]


def _run_facts(plan: _ReportPlan) -> RunFacts:
    run, source = plan.run, plan.spec.source
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


def _epoch_facts(epoch: Epoch) -> EpochFacts:
    return EpochFacts(
        epoch=epoch.epoch,
        **vars(epoch.metrics),
        checkpoint=epoch.checkpoint.sha256,
        created_at=epoch.created_at,
    )


def _method_facts(spec: MethodSpec, subjects: Sequence[Subject]) -> MethodFacts:
    method = spec.method
    return MethodFacts(
        text=str(spec),
        title=method.title,
        formula=method.formula,
        source=method.source,
        year=method.year,
        layer=subjects[0].layer if subjects else None,
    )


def _identity(plan: _ReportPlan, query: ReportQuery) -> str:
    """A hash of everything that the report's bytes depend on."""
    return etag_of(
        *("report", REPORT_VERSION, query.language, query.epochs),
        _run_facts(plan),
        [_epoch_facts(epoch) for epoch in plan.epochs],
        *(plan.methods, plan.quarantined, plan.rows, plan.sampled_epochs),
        [sheet.etag for sheet in plan.sheets],
    )
