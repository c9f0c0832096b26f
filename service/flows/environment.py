"""The device and environment of a run: checked at its start, recorded, and kept when it resumes."""

from typing import Any

import structlog

from service.core.devices import AUTO, CPU
from service.core.environment import (
    DEFAULT_THREADS,
    current_environment,
    describe_differences,
    set_threads,
)
from service.core.spec import RunSpec
from service.core.training import resolve_device
from service.errors import DeviceUnavailable, InvalidValue, RunConflict
from service.jobs import Executor
from service.store import run_lifecycle
from service.store.run_lifecycle import Lease
from service.store.runs import Run
from service.store.store import Store

log = structlog.get_logger()


def check_device(spec: RunSpec, executor: Executor) -> None:
    """Raises InvalidValue for a device that the executor does not have."""
    names = _alternatives(spec.device, executor)
    if names is not None:
        message = f"{spec.device} is not available here; one of {', '.join(names)}"
        raise InvalidValue("device", message, allowed={"enum": names}, code="device_unavailable")


def check_resumable(run: Run, executor: Executor) -> None:
    """Raises RunConflict for a run whose device the executor does not have."""
    device = run.spec["device"]
    if _alternatives(device, executor) is not None:
        raise RunConflict(f"Run {run.id} trains on {device}, which is not available here.")


def _alternatives(device: str, executor: Executor) -> list[str] | None:
    """The available values of `device`; None if `device` is one of them."""
    if device in (AUTO, CPU):
        return None
    names = [AUTO, *executor.devices()]
    return None if device in names else names


def prepare_environment(store: Store, lease: Lease, run: Run, spec: RunSpec) -> None:
    """Set the number of threads to that of the run's first start, and record the environment.

    Differences from the first start are recorded too: the run may no longer be bit-reproducible.
    Raises DeviceUnavailable.
    """
    try:
        device = resolve_device(spec.device)
    except ValueError as error:
        raise DeviceUnavailable(spec.device) from error
    # Before epoch 0 there are no results that later epochs have to match.
    has_epochs = run.epochs_done >= 0
    first_environment = run.environment if has_epochs else None
    set_threads(first_environment["threads"] if first_environment else DEFAULT_THREADS)
    current = current_environment(device).to_dict()
    changes = _changes(run, first_environment, current) if has_epochs else []
    environment = first_environment or current
    if (environment, changes) != (run.environment, list(run.environment_changes)):
        with store.write_session() as session:
            run_lifecycle.record_environment(session, lease, environment, changes)
    if len(changes) > len(run.environment_changes):
        log.warning("run may not be reproducible", run=run.id, reason=changes[-1])


def reasons_not_reproducible(run: Run) -> list[str]:
    """Why the run's spec may not reproduce it bit for bit, even in its first environment."""
    reasons = list(run.environment_changes)
    if run.environment is None and run.epochs_done >= 0:
        reasons.append("its environment was not recorded")
    if run.environment is not None and not run.environment["deterministic"]:
        reasons.append("a GPU does not add in the same order each time")
    return reasons


def _changes(
    run: Run, first_environment: dict[str, Any] | None, current: dict[str, Any]
) -> list[str]:
    """The run's recorded changes, with the change to the current environment appended, if any."""
    if first_environment is None:
        change = "in an environment that was not recorded before"
    else:
        change = ", ".join(describe_differences(first_environment, current))
    changes = list(run.environment_changes)
    if change and not (changes and changes[-1].endswith(change)):
        changes.append(f"from epoch {run.epochs_done + 1} on: {change}")
    return changes
