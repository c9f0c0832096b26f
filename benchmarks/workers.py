"""How soon a run starts: in a worker that was forked, as the service's are, and in a spawned one.

A spawned process imports torch, and at the optimiser's first step torch's compiler. A forked one
has both from the process that it comes from, which imports them once, for the first run.
"""

import multiprocessing
import tempfile
import time
from pathlib import Path

from benchmarks.report import Report
from benchmarks.timing import interleaved, ratio
from service.core.spec import RunSpec
from service.flows import runs as run_flows
from service.flows.worker import WORKER_IMPORTS, train_run
from service.flows.workspace import Workspace
from service.jobs import EXECUTORS
from service.store import runs, schema
from service.store.run_status import RunStatus
from service.store.store import Store, open_store

SPEC = RunSpec.model_validate(
    {
        "dataset": "digits",
        "architecture": {"channels": [2, 3], "hidden_units": 8},
        "epochs": 1,
        "samples_per_epoch": 60,
    }
)


def run(rounds: int, quick: bool) -> Report:  # noqa: ARG001  it is quick in any case
    executor = EXECUTORS["processes"](1, WORKER_IMPORTS)
    with tempfile.TemporaryDirectory(prefix="camreel-benchmark-") as name:
        workspace = Workspace(f"sqlite:///{Path(name) / 'camreel.db'}", "sql", Path(name))
        with open_store(workspace.database) as store:
            schema.ensure(store)

            def forked() -> float:
                start = time.perf_counter()
                run = run_flows.start_run(store, executor, workspace, SPEC)
                return _end_time(store, run.id) - start

            def spawned() -> float:
                start = time.perf_counter()
                with store.write_session() as session:
                    spec = SPEC.model_dump(mode="json")
                    run = runs.create(session, "", [], spec, SPEC.epochs)
                worker = multiprocessing.get_context("spawn").Process(
                    target=train_run, args=(workspace, run.id)
                )
                worker.start()
                seconds = _end_time(store, run.id) - start
                worker.join()
                return seconds

            forked()  # the first one waits for the imports
            forks, spawns = interleaved(
                {"forked worker": forked, "spawned worker": spawned}, rounds
            ).values()
            executor.close()
    return Report(
        "workers",
        "From the wish for a run to its end: an epoch of 60 digits, and the untrained network's.",
        [forks, spawns],
        [ratio("forked / spawned worker", forks, spawns)],
    )


def _end_time(store: Store, run_id: int) -> float:
    """The moment it was seen to have ended, within five milliseconds."""
    while True:
        with store.read_session() as session:
            status = runs.get(session, run_id).status
        if status == RunStatus.SUCCEEDED:
            return time.perf_counter()
        if status not in (RunStatus.QUEUED, RunStatus.RUNNING):
            raise SystemExit(f"the run {status}")
        time.sleep(0.005)
