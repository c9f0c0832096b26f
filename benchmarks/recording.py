"""What recording costs: the bare training loop, and a whole run with everything kept.

A recorded run is what a worker does: it loads the data, takes its queued run, polls for a cancel,
gives signs of life, and keeps each epoch's checkpoint, measures and probes' maps in a SQLite file
of its own, on the disk where a service's would be.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.mnist_folder import mnist_folder
from benchmarks.report import Report
from benchmarks.timing import Target, Timing, interleaved, ratio, timed
from service.core.environment import DEFAULT_THREADS, set_threads
from service.core.images import probe_images
from service.core.spec import RunSpec
from service.core.training import train
from service.flows.recording import record_epoch
from service.flows.runs import start_run
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store import run_lifecycle, runs, schema
from service.store.run_status import RunStatus
from service.store.store import Store, open_store

EPOCHS = 3
RECORDINGS = 10


def run(rounds: int, quick: bool) -> Report:
    folder = mnist_folder()
    spec = RunSpec(epochs=1, samples_per_epoch=500) if quick else RunSpec(epochs=EPOCHS)
    set_threads(DEFAULT_THREADS)  # as a worker does
    _train(RunSpec(dataset="digits", epochs=1), folder)  # to warm up: no contender is the first

    bare, recorded, alone = interleaved(
        {
            "training loop alone": timed(lambda: _train(spec, folder)),
            "recorded run": lambda: _recorded(spec, folder),
            "record_epoch alone, one epoch": lambda: _recording_alone(folder),
        },
        rounds,
    ).values()
    share = Timing("", [spec.epochs * seconds for seconds in alone.seconds])
    return Report(
        "recording",
        f"{spec.epochs} epochs of {spec.samples_per_epoch:,} images (and epoch 0, the untrained "
        "network), each tested on MNIST's 10,000 test images; the default spec otherwise.",
        [bare, recorded, alone],
        [
            ratio("recorded run / training loop alone", recorded, bare, Target("<=", 1.05)),
            ratio("record_epoch's share of the training loop's time", share, bare),
        ],
    )


def _train(spec: RunSpec, folder: Path) -> None:
    for _ in train(spec, spec.source.load(folder, False)):
        pass


def _recorded(spec: RunSpec, folder: Path) -> float:
    with _new_store() as (store, url):
        start = time.perf_counter()
        run = start_run(store, InlineExecutor(), Workspace(url, "sql", folder), spec)
        seconds = time.perf_counter() - start
        with store.read_session() as session:
            status = runs.get(session, run.id).status
        if status != RunStatus.SUCCEEDED:
            raise SystemExit(f"the recorded run {status}")
    return seconds


def _recording_alone(folder: Path) -> float:
    """Mean seconds that keeping an epoch takes, in a store that holds a few already."""
    spec = RunSpec(epochs=RECORDINGS)
    data = spec.source.load(folder, False)
    untrained = next(train(spec, data))
    probes = probe_images(data, spec.probes)
    with _new_store() as (store, _):
        with store.write_session() as session:
            run = runs.create(session, "", [], spec.model_dump(mode="json"), spec.epochs)
            run_lifecycle.claim(session, run.id)
        record_epoch(store, run.id, spec, untrained, probes)
        start = time.perf_counter()
        for epoch in range(1, RECORDINGS + 1):
            record_epoch(store, run.id, spec, replace(untrained, epoch=epoch), probes)
        return (time.perf_counter() - start) / RECORDINGS


@contextmanager
def _new_store() -> Iterator[tuple[Store, str]]:
    # Not in the system's temporary folder: that may be memory, where a commit costs nothing.
    state = Path(os.environ.get("CAMREEL_STATE_DIR", "camreel-data"))
    state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=state, prefix="benchmark-") as folder:
        url = f"sqlite:///{(Path(folder) / 'camreel.db').resolve()}"
        with open_store(url) as store:
            schema.ensure(store)
            yield store, url
