"""Why a run failed, in a word and a sentence: by what was raised, or by how its worker ended."""

import os
import re
import signal

from service.core.processor import is_out_of_memory
from service.errors import (
    CheckpointCorrupt,
    DatasetUnavailable,
    DeviceUnavailable,
    ImageNotFound,
    RunDiverged,
    StoreDamaged,
    StoreFull,
    StoreUnavailable,
)
from service.jobs import ProcessExit
from service.store.runs import RunError

FAILURES: dict[type[Exception], str] = {
    RunDiverged: "diverged",
    DatasetUnavailable: "dataset_unavailable",
    DeviceUnavailable: "device_unavailable",
    ImageNotFound: "image_gone",
    StoreFull: "disk_full",
    StoreUnavailable: "store_busy",
    StoreDamaged: "store_damaged",
    CheckpointCorrupt: "checkpoint_corrupt",
}
"""Errors of our own that end a run, and the word that the run's `error.type` has for them."""

EXIT_CODES: dict[type[Exception], int] = {
    StoreUnavailable: os.EX_TEMPFAIL,
    StoreFull: os.EX_CANTCREAT,
}
"""What a worker exits with that could not write how its run ended."""

ERRORS_BY_EXIT_CODE = {
    os.EX_TEMPFAIL: RunError("store_busy", "The database did not answer the worker in time."),
    os.EX_CANTCREAT: RunError("disk_full", "The database had no room for the run's end."),
}


def exit_code_of(error: Exception) -> int:
    """What a worker exits with that ends by such an error."""
    return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))


def cause_of(ending: ProcessExit) -> RunError:
    """Why a worker was lost."""
    if ending.out_of_memory:
        return RunError("oom", "The kernel killed the worker process: memory was not enough.")
    if ending.exit_code < 0:
        name = signal.Signals(-ending.exit_code).name
        return RunError("worker_killed", f"The worker process was killed by {name}.")
    early = f"The worker process ended early, with exit code {ending.exit_code}."
    return ERRORS_BY_EXIT_CODE.get(ending.exit_code, RunError("worker_died", early))


def run_error_of(cause: Exception) -> RunError:
    """Why training ended."""
    if is_out_of_memory(cause):
        return RunError("oom", "The machine's memory was not enough for the run.")
    for kind, word in FAILURES.items():
        if isinstance(cause, kind):
            return RunError(word, str(cause))
    # No path of the machine's in what clients read.
    words = re.sub(r"(?<![\w.])/[^\s'\",:;]+", "<path>", str(cause)).strip()
    return RunError("error", f"{type(cause).__name__}: {words}"[:1000])
