"""Training in this process, without a service, into the same database."""

import json
import threading
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from service.cli.progress import Snapshot, follow
from service.cli.terminal import new_console, print_line
from service.core.cams import DEFAULT_EPSILON
from service.core.spec import RunSpec
from service.counts import Count
from service.errors import CamreelError, RunConflict
from service.field_errors import field_errors
from service.files import read_file
from service.flows import runs as run_flows
from service.flows.datasets import resolve_dataset
from service.flows.dispatch import dispatch_run
from service.flows.maps.blanks import blanks
from service.flows.services import ServiceSet, open_services
from service.settings import Settings
from service.store import epochs, runs
from service.store.runs import Run, RunProgress

MAX_SPEC_BYTES = 2**20


def train(settings: Settings, path: Path | None, overrides: list[str]) -> None:
    """Train the spec of a JSON file, or the default, with overrides such as `epochs=5`."""
    console = new_console()
    spec = _read_spec(path, overrides)
    services = open_services(settings.model_copy(update={"executor": "inline"}))
    spec = resolve_dataset(services.workspace, spec, max_measured=None)
    # Under its own name, so that no service on the database takes the run.
    run, _ = run_flows.create_run(
        services.store, services.executor, spec, dispatcher=services.election.name
    )
    print_line(f"Run {run.id} in {services.store.label}", console=console)
    _train(services, console, run)


def _train(services: ServiceSet, console: Console, run: Run) -> None:
    """Train in a thread and show the progress. Ctrl-C cancels. Raises CamreelError on failure."""
    run_id = run.id
    worker = threading.Thread(
        target=dispatch_run,
        args=(services.store, services.executor, services.workspace, run),
    )
    worker.start()
    try:
        follow(console, lambda: read_snapshot(services, run_id))
    except KeyboardInterrupt:
        print_line("Cancelling. The completed epochs are kept.", console=console)
        try:
            run_flows.cancel_run(services.store, run_id)
        except RunConflict:
            print_line("The run has already ended.", console=console)
    worker.join()
    with services.store.read_session() as session:
        run = runs.get(session, run_id)
    if run.error:
        raise CamreelError(f"Run {run_id} failed ({run.error.type}): {run.error.detail}")
    print_line(
        f"Run {run_id} {run.status} with {Count(run.epochs_done):epoch|epochs}.", console=console
    )


def resume(settings: Settings, run_id: int, epochs_total: int | None) -> None:
    """Resume a run that has ended from its last epoch, until `epochs_total`."""
    services = open_services(settings.model_copy(update={"executor": "inline"}))
    run = run_flows.extend_run(
        services.store,
        run_id,
        epochs_total,
        executor=services.executor,
        dispatcher=services.election.name,
    )
    _train(services, new_console(), run)


def read_snapshot(services: ServiceSet, run_id: int) -> Snapshot:
    """The current progress of a run."""
    with services.store.read_session() as session:
        run = runs.get(session, run_id)
        epochs_done = run.epochs_done
        metrics = epochs.get(session, run_id, epochs_done).metrics if epochs_done >= 0 else None
    counts = {}
    if epochs_done >= 1:
        counts = blanks(services.pipeline, run_id, "1:", DEFAULT_EPSILON).compute().value.methods
    return Snapshot(
        status=run.status,
        epochs_done=epochs_done,
        epochs_total=run.epochs_total,
        epoch_fraction=run.images_seen / run.spec["samples_per_epoch"],
        train_loss=metrics.train_loss if metrics else None,
        test_accuracy=metrics.test_accuracy if metrics else None,
        blanks={name: (count.blank, count.total) for name, count in counts.items()},
        activity=services.activities.get({run_id: RunProgress.from_run(run)})[run_id],
        test_images_total=RunSpec.model_validate(run.spec).source.test_size,
    )


def _read_spec(path: Path | None, overrides: list[str]) -> RunSpec:
    """Raises CamreelError for a file that is not JSON and for invalid settings."""
    try:
        values: Any = json.loads(read_file(path, MAX_SPEC_BYTES)) if path else {}
    except ValueError as error:
        raise CamreelError(f"{path} cannot be read as JSON: {error}") from error
    for override in overrides:
        _apply(override, values)
    try:
        return RunSpec.model_validate(values)
    except ValidationError as error:
        errors = field_errors(error.errors(), RunSpec.model_json_schema())
        raise CamreelError("; ".join(map(str, errors))) from error


def _apply(override: str, values: Any) -> None:
    """Set a value such as `optimizer.name=sgd`; JSON if it is valid JSON, otherwise a string.

    Raises CamreelError for a name below a value that has no fields, as in `epochs.x=1`.
    """
    name, separator, text = override.partition("=")
    if not separator:
        raise CamreelError(f"--set {override}: must be of the form name=value")
    *parents, key = name.split(".")
    for parent in [*parents, None]:
        if not isinstance(values, dict):
            raise CamreelError(f"--set {override}: {name} is below a value that is not an object")
        if parent is not None:
            values = values.setdefault(parent, {})
    try:
        values[key] = json.loads(text)
    except ValueError:
        values[key] = text
