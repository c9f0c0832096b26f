"""The report of a run: choice of epochs and methods, blank counts and contact sheets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from service import __version__
from service.core.cams import DEFAULT_EPSILON
from service.core.cams.methods import PAPER_METHODS, MethodSpec
from service.core.recorded_spec import training_spec
from service.core.render.colormaps import SEQUENTIAL_DEFAULT
from service.core.spec import RunSpec
from service.errors import EpochNotFound
from service.flows.identity import identity_of
from service.flows.maps.blanks import BlankTable, blanks
from service.flows.maps.deferred import Deferred, Result
from service.flows.maps.pictures import MAX_CELLS, MapPictures, Picture, Rendering
from service.flows.maps.request import MapQuery, MapSeries
from service.flows.maps.scales import ScaleName
from service.flows.maps.selection import EpochSelection, select_usable_epochs
from service.report.content import (
    EPOCH_FIELDS,
    EpochFacts,
    MethodFacts,
    MethodMaps,
    Report,
    RunFacts,
)
from service.report.findings import FindingPlan, plan_findings
from service.report.languages import Language
from service.report.rendering import render_report
from service.store import epochs, runs
from service.store.epochs import Epoch
from service.store.runs import Run

REPORT_VERSION = 5
"""Part of every report's identity: raised when the same run gives a different report."""

COLUMNS = 51  # the paper's 100 epochs and the untrained network, every second one
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
    selection: EpochSelection
    sampled_epochs: list[int]
    sampling_step: int
    methods: list[MethodFacts]
    row_count: int
    sheets: list[Deferred[Picture]]
    findings: FindingPlan


def run_report(pictures: MapPictures, query: ReportQuery) -> Deferred[bytes]:
    """The report of a run as HTML; computing it may compute maps.

    Raises RunNotFound, InvalidValue, UnknownName, EpochNotFound.
    """
    with pictures.pipeline.store.read_session() as session:
        run = runs.get(session, query.run_id)
        run_epochs = epochs.list_epochs(session, query.run_id)
    selection = _select_epochs(run_epochs, query)
    plan = _plan(pictures, query, run, selection)
    return Deferred(_identity(plan, query), lambda: _compute_report(pictures, query, plan))


def _compute_report(pictures: MapPictures, query: ReportQuery, plan: _ReportPlan) -> Result[bytes]:
    """The report, planned again without the epochs that turn out to be damaged."""
    sheets = [sheet.compute() for sheet in plan.sheets]
    table = _blank_table(pictures, plan) if sheets else None
    damaged_epochs = {number for sheet in sheets for number in sheet.quarantined_epochs}
    if table is not None:
        damaged_epochs |= set(table.quarantined_epochs)
    usable_selection = plan.selection.without(dict.fromkeys(damaged_epochs, "damaged"))
    if usable_selection.numbers != plan.selection.numbers:
        return _compute_report(pictures, query, _plan(pictures, query, plan.run, usable_selection))
    maps = _method_maps(plan, sheets, table.value) if table else []
    content = render_report(_report(plan, query, maps), query.language)
    return Result(_identity(plan, query), content, plan.selection.quarantined)


def sample(items: Sequence[Item], limit: int) -> tuple[list[Item], int]:
    """At most `limit` (>= 2) evenly spaced items, always with the last, and their step."""
    step = max(1, -(-(len(items) - 1) // (limit - 1)))
    sampled_items = list(items[::step])
    if items and (len(items) - 1) % step:
        sampled_items.append(items[-1])
    return sampled_items, step


def _plan(
    pictures: MapPictures, query: ReportQuery, run: Run, selection: EpochSelection
) -> _ReportPlan:
    # By text: a method that is listed twice appears once.
    methods = {str(method): method for method in map(MethodSpec.parse, query.methods)}
    queries = [MapQuery.of_method(query.run_id, method) for method in methods.values()]
    series = pictures.pipeline.resolver.resolve_probes(queries)
    row_count = len(series[0])
    columns = min(COLUMNS, MAX_CELLS // row_count) if row_count else COLUMNS
    sampled_epochs, step = sample(selection.numbers, columns)
    return _ReportPlan(
        run=run,
        spec=training_spec(run.spec),
        selection=selection,
        sampled_epochs=sampled_epochs,
        sampling_step=step,
        methods=[
            _method_facts(method, method_series)
            for method, method_series in zip(methods.values(), series, strict=True)
        ],
        row_count=row_count,
        sheets=_sheets(pictures, queries, sampled_epochs, row_count),
        findings=plan_findings(pictures.pipeline, selection),
    )


def _sheets(
    pictures: MapPictures,
    queries: Sequence[MapQuery],
    sampled_epochs: Sequence[int],
    row_count: int,
) -> list[Deferred[Picture]]:
    """One contact sheet for each query; none without images or epochs."""
    if not row_count or not sampled_epochs:
        return []
    selector = ",".join(map(str, sampled_epochs))
    cell_pixels = _cell_pixels(row_count, len(sampled_epochs))
    # The maps of all epochs are counted in any case.
    rendering = Rendering(scale=ScaleName.STRIP, size=cell_pixels)
    return [pictures.sheet(query, selector, rendering) for query in queries]


def _select_epochs(run_epochs: Sequence[Epoch], query: ReportQuery) -> EpochSelection:
    """The requested epochs. Raises InvalidValue, EpochNotFound."""
    try:
        return select_usable_epochs(query.epochs, query.run_id, run_epochs)
    except EpochNotFound:
        if run_epochs:
            raise
        # A run without epochs has a report that says so.
        return EpochSelection(query.run_id, [], [])


def _cell_pixels(rows: int, columns: int) -> int:
    low, high = CELL_PIXELS
    return max(16, min(high, max(low, SHEET_WIDTH // columns), SHEET_HEIGHT // rows))


def _report(plan: _ReportPlan, query: ReportQuery, maps: list[MethodMaps]) -> Report:
    return Report(
        run=_run_facts(plan),
        epoch_selector=query.epochs,
        epochs=[_epoch_facts(epoch) for epoch in plan.selection.epochs],
        sampled_epochs=plan.sampled_epochs,
        sampling_step=plan.sampling_step,
        methods=plan.methods,
        maps=maps,
        epsilon=DEFAULT_EPSILON,
        colormap=SEQUENTIAL_DEFAULT,
        version=__version__,
        insight=plan.findings.section(query.language),
    )


def _blank_table(pictures: MapPictures, plan: _ReportPlan) -> Result[BlankTable]:
    """Blank maps of all epochs, not only of the sampled ones."""
    selector = ",".join(map(str, plan.selection.numbers))
    names = [method.text for method in plan.methods]
    return blanks(pictures.pipeline, plan.run.id, selector, DEFAULT_EPSILON, names).compute()


def _method_maps(
    plan: _ReportPlan, sheets: Sequence[Result[Picture]], table: BlankTable
) -> list[MethodMaps]:
    return [
        MethodMaps(
            method=method,
            sheet=sheet.value.content,
            rows=plan.row_count,
            maps_per_epoch=table.methods[method.text].total // len(plan.selection.epochs),
            blanks_per_epoch={
                epoch: counts[method.text].blank for epoch, counts in table.per_epoch.items()
            },
            map_count=table.methods[method.text].total,
            blank_count=table.methods[method.text].blank,
            blanks_by_cause=table.methods[method.text].by_cause,
        )
        for method, sheet in zip(plan.methods, sheets, strict=True)
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
        **{name: value for name, value in vars(epoch.metrics).items() if name in EPOCH_FIELDS},
        checkpoint=epoch.checkpoint.sha256,
        created_at=epoch.created_at,
    )


def _method_facts(spec: MethodSpec, series: Sequence[MapSeries]) -> MethodFacts:
    method = spec.method
    return MethodFacts(
        text=str(spec),
        title=method.title,
        formula=method.formula,
        source=method.source,
        year=method.year,
        layer=series[0].layer if series else None,
    )


def _identity(plan: _ReportPlan, query: ReportQuery) -> str:
    """A hash of everything that the report's bytes depend on."""
    return identity_of(
        *("report", REPORT_VERSION, query.language, query.epochs),
        _run_facts(plan),
        [_epoch_facts(epoch) for epoch in plan.selection.epochs],
        *(plan.methods, plan.selection.quarantined, plan.row_count, plan.sampled_epochs),
        [sheet.identity for sheet in plan.sheets],
        plan.findings.identity,
    )
