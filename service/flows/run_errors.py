"""Why a run failed, as an error type and a sentence: from an exception, or from a worker's exit."""

import os
import re
import signal

from service.core.devices import is_out_of_memory
from service.errors import (
    CheckpointCorrupt,
    DatasetUnavailable,
    DeviceUnavailable,
    ImageNotFound,
    RunDiverged,
    WeightsUnavailable,
)
from service.jobs import ProcessExit
from service.store.runs import RunError
from service.store_errors import StoreDamaged, StoreFull, StoreUnavailable

ERROR_TYPES: dict[type[Exception], str] = {
    RunDiverged: "diverged",
    DatasetUnavailable: "dataset_unavailable",
    WeightsUnavailable: "weights_unavailable",
    DeviceUnavailable: "device_unavailable",
    ImageNotFound: "image_gone",
    StoreFull: "disk_full",
    StoreUnavailable: "store_busy",
    StoreDamaged: "store_damaged",
    CheckpointCorrupt: "checkpoint_corrupt",
}
"""Domain errors that fail a run, with the run's `error.type` for each."""

EXIT_CODES: dict[type[Exception], int] = {
    StoreUnavailable: os.EX_TEMPFAIL,
    StoreFull: os.EX_CANTCREAT,
}
"""Exit codes of a worker that could not record how its run ended."""

ERRORS_BY_EXIT_CODE = {
    os.EX_TEMPFAIL: RunError("store_busy", "The database did not answer the worker in time."),
    os.EX_CANTCREAT: RunError(
        "disk_full", "The database had no space to record the end of the run."
    ),
}

WORKER_LOST = RunError("worker_lost", "The worker that trained the run stopped sending heartbeats.")


def exit_code_of(error: Exception) -> int:
    """The exit code of a worker that ends with a StoreUnavailable or a StoreFull."""
    return next(code for cls, code in EXIT_CODES.items() if isinstance(error, cls))


def cause_of(process_exit: ProcessExit) -> RunError:
    """The error of a run whose worker process exited without finishing it."""
    if process_exit.out_of_memory:
        return RunError("oom", "The kernel killed the worker process: out of memory.")
    if process_exit.exit_code < 0:
        name = signal.Signals(-process_exit.exit_code).name
        return RunError("worker_killed", f"The worker process was killed by {name}.")
    early = f"The worker process ended early with exit code {process_exit.exit_code}."
    return ERRORS_BY_EXIT_CODE.get(process_exit.exit_code, RunError("worker_died", early))


def run_error_of(error: Exception) -> RunError:
    """The error of a run whose training raised `error`."""
    if is_out_of_memory(error):
        return RunError("oom", "The run needs more memory than the machine has.")
    for cls, error_type in ERROR_TYPES.items():
        if isinstance(error, cls):
            return RunError(error_type, str(error))
    # Clients must not learn paths of this machine.
    message = re.sub(r"(?<![\w.])/[^\s'\",:;]+", "<path>", str(error)).strip()
    return RunError("error", f"{type(error).__name__}: {message}"[:1000])
