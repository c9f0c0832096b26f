"""Where a run trains: on a device that is available, in the environment that it began in."""

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
    """Raises InvalidValue for a device that no job of the executor can use."""
    names = unavailable(spec.device, executor)
    if names is not None:
        message = f"{spec.device} is not available here; one of {', '.join(names)}"
        raise InvalidValue("device", message, allowed={"enum": names})


def check_resumable(run: Run, executor: Executor) -> None:
    """Raises RunConflict for a run whose device no job of the executor can use."""
    device = run.spec["device"]
    if unavailable(device, executor) is not None:
        raise RunConflict(f"Run {run.id} trains on {device}, which is not available here.")


def unavailable(device: str, executor: Executor) -> list[str] | None:
    """The values of `device` that can be used; None where `device` is one of them."""
    if device in (AUTO, CPU):
        return None
    names = [AUTO, *executor.devices()]
    return None if device in names else names


def enter(store: Store, lease: Lease, run: Run, spec: RunSpec) -> None:
    """Set this process's threads as the run's first start had them, and record the environment.

    What cannot be as it was is recorded too: from there on the bits may be others. Raises
    DeviceUnavailable.
    """
    try:
        device = resolve_device(spec.device)
    except ValueError as error:
        raise DeviceUnavailable(spec.device) from error
    # Before epoch 0 nothing has been trained that later epochs would have to match.
    began = run.epochs_done >= 0
    recorded = run.environment if began else None
    set_threads(recorded["threads"] if recorded else DEFAULT_THREADS)
    current = current_environment(device).to_dict()
    changes = _changes(run, recorded, current) if began else []
    environment = recorded or current
    if (environment, changes) != (run.environment, list(run.environment_changes)):
        with store.write_session() as session:
            run_lifecycle.record_environment(session, lease, environment, changes)
    if len(changes) > len(run.environment_changes):
        log.warning("run may not be reproducible", run=run.id, reason=changes[-1])


def reasons_not_reproducible(run: Run) -> list[str]:
    """Why its spec may give other bits than the run has, even in the environment it began in."""
    reasons = list(run.environment_changes)
    if run.environment is None and run.epochs_done >= 0:
        reasons.append("its environment was not recorded")
    if run.environment is not None and not run.environment["deterministic"]:
        reasons.append("a GPU does not add in the same order each time")
    return reasons


def _changes(run: Run, recorded: dict[str, Any] | None, current: dict[str, Any]) -> list[str]:
    """The run's changes so far, and the one that training on here and now is."""
    if recorded is None:
        change = "in an environment that was not recorded before"
    else:
        change = ", ".join(describe_differences(recorded, current))
    changes = list(run.environment_changes)
    if change and not (changes and changes[-1].endswith(change)):
        changes.append(f"from epoch {run.epochs_done + 1} on: {change}")
    return changes
