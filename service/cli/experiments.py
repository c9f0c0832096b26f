"""The commands of experiments, which a service on the same database trains."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.options import DataDir, StateDir, load_settings

experiment = typer.Typer(help="Experiments: many runs that differ in some settings.")

ExperimentId = Annotated[int, typer.Argument(min=1, help="Id of the experiment.")]


@experiment.command()
def start(
    plan: Annotated[
        Path, typer.Argument(help="JSON file with the plan, as for POST /experiments.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Start nothing; print what would start.")
    ] = False,
    state_dir: StateDir = None,
    data_dir: DataDir = None,
) -> None:
    """Queue all runs of a plan. A service on the same database trains them."""
    from service.cli.experiment_commands import start_experiment

    settings = load_settings(state_dir=state_dir, data_dir=data_dir)
    start_experiment(settings, plan, dry_run=dry_run)


@experiment.command("list")
def list_experiments(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number.")] = 50,
    state_dir: StateDir = None,
) -> None:
    """List experiments, newest first, with the progress of their runs."""
    from service.cli.experiment_commands import print_experiments

    print_experiments(load_settings(state_dir=state_dir), limit)


@experiment.command()
def show(
    experiment_id: ExperimentId,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    state_dir: StateDir = None,
) -> None:
    """Print the runs of an experiment with their settings and measures."""
    from service.cli.experiment_commands import print_runs

    print_runs(load_settings(state_dir=state_dir), experiment_id, as_csv=as_csv)


@experiment.command()
def report(
    experiment_id: ExperimentId,
    output: Annotated[Path, typer.Option("--out", help="Folder for report.md and matrix.png.")],
    measure: Annotated[
        str, typer.Option(help="Measure by which the best setting is named.")
    ] = "test_accuracy",
    field: Annotated[
        str | None, typer.Option(help="Field whose values are the rows of the matrix.")
    ] = None,
    class_index: Annotated[
        int, typer.Option("--class", min=0, help="Class whose maps the matrix shows.")
    ] = 0,
    state_dir: StateDir = None,
    data_dir: DataDir = None,
) -> None:
    """Write the report of an experiment: the best setting and why, noise, and a matrix."""
    from service.cli.experiment_commands import write_report

    settings = load_settings(state_dir=state_dir, data_dir=data_dir)
    write_report(settings, experiment_id, output, measure, field, class_index)


@experiment.command()
def cancel(experiment_id: ExperimentId, state_dir: StateDir = None) -> None:
    """Cancel the runs of an experiment that have not ended. Their epochs are kept."""
    from service.cli.experiment_commands import cancel_experiment

    cancel_experiment(load_settings(state_dir=state_dir), experiment_id)


@experiment.command()
def resume(experiment_id: ExperimentId, state_dir: StateDir = None) -> None:
    """Queue the cancelled runs of an experiment again."""
    from service.cli.experiment_commands import continue_experiment
    from service.store.run_status import RunStatus

    continue_experiment(load_settings(state_dir=state_dir), experiment_id, RunStatus.CANCELLED)


@experiment.command()
def retry(experiment_id: ExperimentId, state_dir: StateDir = None) -> None:
    """Queue the failed runs of an experiment again."""
    from service.cli.experiment_commands import continue_experiment
    from service.store.run_status import RunStatus

    continue_experiment(load_settings(state_dir=state_dir), experiment_id, RunStatus.FAILED)


@experiment.command()
def delete(
    experiment_id: ExperimentId,
    skip_confirmation: Annotated[
        bool, typer.Option("--yes", help="Skip the confirmation prompt.")
    ] = False,
    state_dir: StateDir = None,
) -> None:
    """Delete an experiment with all its runs. This cannot be undone."""
    from service.cli.experiment_commands import delete_experiment

    delete_experiment(
        load_settings(state_dir=state_dir), experiment_id, confirmed=skip_confirmation
    )
