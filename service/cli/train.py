"""Training without a service: the same flow, in this process, into the same database."""

import json
import threading
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from service.cli.progress import Snapshot, follow
from service.cli.terminal import new_console, print_line
from service.core.spec import RunSpec
from service.errors import CamreelError, RunConflict
from service.files import read_file
from service.flows import runs as run_flows
from service.flows.blanks import count_blanks
from service.flows.dispatch import dispatch_run
from service.flows.services import ServiceSet, open_services
from service.flows.viewing import Viewer
from service.settings import Settings
from service.store import epochs, runs
from service.store.runs import Run

MAX_SPEC_BYTES = 2**20


def train(settings: Settings, path: Path | None, changes: list[str]) -> None:
    """Train the spec of a JSON file, or the paper's, with changes such as `epochs=5`."""
    console = new_console()
    spec = _spec(path, changes)
    services = open_services(settings.model_copy(update={"executor": "inline"}))
    run, _ = run_flows.create_run(services.store, services.executor, spec)
    print_line(f"Run {run.id} in {services.store.label}", console=console)
    _train_here(services, console, run)


def _train_here(services: ServiceSet, console: Console, run: Run) -> None:
    run_id = run.id
    here = (services.store, services.executor, services.workspace, run)
    worker = threading.Thread(target=dispatch_run, args=here)
    worker.start()
    try:
        follow(console, lambda: snapshot(services.viewer, run_id))
    except KeyboardInterrupt:
        print_line("Cancelling; the epochs so far stay.", console=console)
        try:
            run_flows.cancel_run(services.store, run_id)
        except RunConflict:
            print_line("It had ended already.", console=console)
    worker.join()
    with services.store.read_session() as session:
        ended = runs.get(session, run_id)
    if ended.error:
        raise CamreelError(f"Run {run_id} failed ({ended.error.type}): {ended.error.detail}")
    print_line(f"Run {run_id} {ended.status} with {ended.epochs_done} epochs.", console=console)


def resume(settings: Settings, run_id: int, epochs_total: int | None) -> None:
    """Train a run that has ended on from its last epoch, here."""
    services = open_services(settings.model_copy(update={"executor": "inline"}))
    run = run_flows.extend_run(services.store, run_id, epochs_total, executor=services.executor)
    _train_here(services, new_console(), run)


def snapshot(viewer: Viewer, run_id: int) -> Snapshot:
    """A run as it stands in the store."""
    with viewer.store.read_session() as session:
        run = runs.get(session, run_id)
        done = run.epochs_done
        measures = epochs.get(session, run_id, done).metrics if done >= 0 else None
    counts = count_blanks(viewer, run_id, "1:", 1e-7).methods if done >= 1 else {}
    return Snapshot(
        status=run.status,
        epochs_done=done,
        epochs_total=run.epochs_total,
        epoch_share=run.images_seen / run.spec["samples_per_epoch"],
        train_loss=measures.train_loss if measures else None,
        test_accuracy=measures.test_accuracy if measures else None,
        blanks={name: (count.blank, count.total) for name, count in counts.items()},
    )


def _spec(path: Path | None, changes: list[str]) -> RunSpec:
    try:
        values: dict[str, Any] = json.loads(read_file(path, MAX_SPEC_BYTES)) if path else {}
    except ValueError as error:
        raise CamreelError(f"{path} cannot be read as JSON: {error}") from error
    for change in changes:
        name, _, text = change.partition("=")
        *parents, last = name.split(".")
        inside = values
        for parent in parents:
            inside = inside.setdefault(parent, {})
        try:
            inside[last] = json.loads(text)
        except ValueError:
            inside[last] = text
    try:
        return RunSpec.model_validate(values)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise CamreelError("; ".join(lines)) from error
