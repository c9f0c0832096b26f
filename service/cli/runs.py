"""Listing, cancelling and deleting runs without a service."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from service.cli.terminal import ValueTable, print_line, print_table
from service.errors import CamreelError, RunConflict, UnknownName
from service.flows.deletion import DeletedRunCleaner, delete_run
from service.names import sanitize_line
from service.settings import Settings
from service.store import runs, schema, summaries
from service.store.run_status import RunStatus
from service.store.runs import Run
from service.store.store import open_store


def list_runs(
    settings: Settings, status: str | None, tag: str | None, limit: int, *, as_json: bool
) -> None:
    """Print the newest runs as a table or as a JSON array."""
    if status is not None and status not in list(RunStatus):
        raise UnknownName("status", status, RunStatus)
    with open_store(settings.database, settings.blobs) as store:
        schema.ensure(store)
        with store.read_session() as session:
            listed_runs = runs.list_newest(session, limit=limit, status=status, tag=tag)
            by_run = summaries.sample_accuracies(session, [run.id for run in listed_runs], 2)
    accuracies = {run_id: values[-1] if values else None for run_id, values in by_run.items()}
    if as_json:
        documents = [_document(run, accuracies[run.id]) for run in listed_runs]
        print(json.dumps(documents, ensure_ascii=False))  # noqa: T201
        return
    table = ValueTable("id", "name", "status", "epochs", "test accuracy", "created")
    for run in listed_runs:
        accuracy = accuracies[run.id]
        table.add_values(
            str(run.id),
            run.name,
            run.status,
            f"{max(0, run.epochs_done)}/{run.epochs_total}",
            "-" if accuracy is None else f"{accuracy:.2%}",
            run.created_at.strftime("%Y-%m-%d %H:%M:%SZ"),
        )
    print_table(table)


def _document(run: Run, accuracy: float | None) -> dict[str, object]:
    return {
        "id": run.id,
        "name": run.name,
        "tags": run.tags,
        "status": run.status,
        "epochs_done": run.epochs_done,
        "epochs_total": run.epochs_total,
        "test_accuracy": accuracy,
        "error": asdict(run.error) if run.error else None,
        "created_at": run.created_at.isoformat(),
    }


def cancel(settings: Settings, run_id: int) -> None:
    """Cancel a run in whichever process it trains; its completed epochs are kept."""
    from service.flows import runs as run_flows

    with open_store(settings.database, settings.blobs) as store:
        schema.ensure(store)
        run = run_flows.cancel_run(store, run_id)
    outcome = (
        "is cancelled" if run.status == RunStatus.CANCELLED else "ends after its current batch"
    )
    print_line(f"Run {run_id} {outcome}. Its completed epochs are kept.")


def delete(settings: Settings, run_ids: Sequence[int], *, confirmed: bool) -> None:
    """Delete runs with their checkpoints and maps, after a confirmation on a terminal.

    If one of the runs is missing or running, none is deleted. Raises RunNotFound, RunConflict.
    """
    with open_store(settings.database, settings.blobs) as store:
        schema.ensure(store)
        with store.read_session() as session:
            targets = {run_id: runs.get(session, run_id) for run_id in run_ids}
        for run_id, run in targets.items():
            if run.status == RunStatus.RUNNING:
                raise RunConflict(f"Run {run_id} is running. First run: camreel cancel {run_id}")
        if not confirmed:
            confirm([f"run {run_id} ({run.name})" for run_id, run in targets.items()])
        for run_id in targets:
            delete_run(store, run_id)
            print_line(f"Run {run_id} is deleted.")
        # A service would do this in the background, but none may be running.
        DeletedRunCleaner(store).free_space()


def confirm(labels: Sequence[str]) -> None:
    """Ask before a deletion. Raises CamreelError unless the user confirms on the terminal."""
    if not sys.stdin.isatty():
        raise CamreelError("Deletion cannot be undone. Confirm it with --yes.")
    answer = input(
        f"Delete {sanitize_line(', '.join(labels))} with all checkpoints and maps? [y/N] "
    )
    if answer.strip().lower() not in ("y", "yes"):
        raise CamreelError("Nothing was deleted.")
