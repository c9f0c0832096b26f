"""What the commands of experiments do. Runs are queued here, and trained by a service."""

import csv
import json
import sys
from contextlib import closing
from pathlib import Path

from pydantic import ValidationError

from service.cli.runs import confirm
from service.cli.terminal import ValueTable, print_line, print_table
from service.core.experiments.alignment import Alignment
from service.core.experiments.plan import ExperimentPlan
from service.core.experiments.settings import format_value
from service.counts import Count
from service.errors import CamreelError
from service.field_errors import field_errors
from service.files import read_file, write_file
from service.flows.deletion import DeletedRunCleaner
from service.flows.election import ElectedExecutor
from service.flows.experiment_estimate import estimate_time
from service.flows.experiment_matrix import MatrixQuery
from service.flows.experiment_results import compare_settings, run_table
from service.flows.experiments import Experiments, parse_plan
from service.flows.services import ServiceSet, open_services
from service.folders import make_folder
from service.report.experiment_matrix import format_measure, render_experiment_matrix
from service.report.experiment_report import experiment_report
from service.settings import Settings
from service.store import experiments
from service.store.experiments import RunTotals
from service.store.run_status import RunStatus

MAX_PLAN_BYTES = 4 * 2**20
CELL_PIXELS = 84
SHOWN_MEASURES = ("test_accuracy", "test_loss", "blank_share_proposed")


def start_experiment(settings: Settings, path: Path, *, dry_run: bool) -> None:
    """Queue the runs of a plan, or print what would start. Raises CamreelError."""
    plan = _read_plan(path)
    services = open_services(settings)
    flows = _queueing(services)
    if dry_run:
        run_plans = flows.plan(plan)
        estimate = estimate_time(services.store, run_plans, services.parallel_runs)
        print_line(
            f"{Count(plan.setting_count):setting|settings}, {Count(len(run_plans)):run|runs}"
        )
        print_line(
            f"about {estimate.seconds:,.0f} seconds, from "
            f"{Count(len(estimate.basis_run_ids)):earlier run|earlier runs}"
            if estimate
            else "no earlier run is comparable, so the time is not known"
        )
        return
    experiment, _ = flows.start(plan)
    run_count = plan.setting_count * len(plan.seeds)
    print_line(
        f"Experiment {experiment.id}: {Count(run_count):run is|runs are} queued in "
        f"{services.store.label}. A service trains them: camreel serve"
    )


def print_experiments(settings: Settings, limit: int) -> None:
    """Print the newest experiments as a table."""
    services = open_services(settings)
    with services.store.read_session() as session:
        rows = experiments.list_newest(session, limit=limit)
        totals = experiments.count_runs(session, [row.id for row in rows])
    table = ValueTable("id", "name", "runs", "epochs", "created")
    for row in rows:
        total = totals[row.id]
        table.add_values(
            str(row.id),
            row.name,
            _totals_text(total),
            f"{total.epochs_done}/{total.epochs_total}",
            row.created_at.strftime("%Y-%m-%d %H:%M:%SZ"),
        )
    print_table(table)


def print_runs(settings: Settings, experiment_id: int, *, as_csv: bool) -> None:
    """Print the runs of an experiment as a table or as CSV. Raises ExperimentNotFound."""
    services = open_services(settings)
    experiment, rows = services.experiment_results.get(experiment_id)
    paths = parse_plan(experiment).paths
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        columns, values = run_table(paths, rows)
        writer.writerows([columns, *values])
        return
    table = ValueTable("run", *paths, "seed", "status", *SHOWN_MEASURES)
    for row in rows:
        measures = row.values()
        table.add_values(
            str(row.run.id),
            *(format_value(row.setting[path]) for path in paths),
            str(row.seed),
            row.run.status,
            *(format_measure(measures[name]) for name in SHOWN_MEASURES),
        )
    print_table(table)


def write_report(
    settings: Settings,
    experiment_id: int,
    folder: Path,
    measure: str,
    field: str | None,
    class_index: int,
) -> None:
    """Write report.md, and matrix.png if a field varies.

    Raises ExperimentNotFound, UnknownName, InvalidValue.
    """
    services = open_services(settings)
    experiment, rows = services.experiment_results.get(experiment_id)
    plan = parse_plan(experiment)
    comparison = compare_settings(plan, rows, Alignment.EPOCH)
    # Without a field that varies, there are no rows of a matrix.
    picture_name = "matrix.png" if plan.paths else None
    text = experiment_report(experiment, rows, comparison, measure, picture_name)
    make_folder(folder, "--out")
    if picture_name is not None:
        with closing(services.pipeline):
            query = MatrixQuery(experiment_id, field, class_index=class_index, measure=measure)
            matrix = services.matrices.matrix(query).compute().value
        write_file(folder / picture_name, render_experiment_matrix(matrix, CELL_PIXELS))
    write_file(folder / "report.md", text.encode())
    print_line(str(folder / "report.md"))


def cancel_experiment(settings: Settings, experiment_id: int) -> None:
    """Cancel the runs of an experiment. Raises ExperimentNotFound."""
    services = open_services(settings)
    _queueing(services).cancel(experiment_id)
    print_line(
        f"Experiment {experiment_id} is cancelled; running runs end after their current batch."
    )


def continue_experiment(settings: Settings, experiment_id: int, status: RunStatus) -> None:
    """Queue runs of that status again. Raises ExperimentNotFound, ExperimentConflict."""
    services = open_services(settings)
    _, skipped = _queueing(services).continue_runs(experiment_id, status)
    for run in skipped:
        print_line(run.reason)
    print_line(f"The other runs of experiment {experiment_id} are queued.")


def delete_experiment(settings: Settings, experiment_id: int, *, confirmed: bool) -> None:
    """Delete an experiment with its runs, after a confirmation on a terminal.

    Raises ExperimentNotFound, ExperimentConflict.
    """
    services = open_services(settings)
    with services.store.read_session() as session:
        experiment = experiments.get(session, experiment_id)
        total = experiments.count_runs(session, [experiment_id])[experiment_id].total
    if not confirmed:
        name = f" ({experiment.name})" if experiment.name else ""
        confirm([f"experiment {experiment_id}{name} and {Count(total):run|runs}"])
    _queueing(services).delete(experiment_id)
    # A service would do this in the background, but none may be running.
    DeletedRunCleaner(services.store).free_space()
    print_line(f"Experiment {experiment_id} is deleted.")


def _queueing(services: ServiceSet) -> Experiments:
    """The flows without an executor: this process is not elected, so it starts no run."""
    executor = ElectedExecutor(services.executor, services.election)
    return Experiments(services.store, executor, services.workspace)


def _read_plan(path: Path) -> ExperimentPlan:
    """Raises CamreelError for a file that is not JSON and for an invalid plan."""
    try:
        values = json.loads(read_file(path, MAX_PLAN_BYTES))
    except ValueError as error:
        raise CamreelError(f"{path} cannot be read as JSON: {error}") from error
    try:
        return ExperimentPlan.model_validate(values)
    except ValidationError as error:
        errors = field_errors(error.errors(), ExperimentPlan.model_json_schema())
        raise CamreelError("; ".join(map(str, errors))) from error


def _totals_text(totals: RunTotals) -> str:
    return ", ".join(f"{count} {status}" for status, count in totals.by_status.items()) or "0"
