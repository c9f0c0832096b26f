"""What a recorder costs a training of ResNet-18 with a service in another process.

In each turn an epoch is trained alone, and another one after `epoch` has recorded the weights,
which are hashed and sent meanwhile: the cost of an epoch in the middle of a training. Wall time
counts what the training waits for, CPU time what its process works, the sending thread included.
"""

import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import camreel
import torch
import torchvision
from torch import nn

from benchmarks.report import Figure, Report
from benchmarks.server import serve
from benchmarks.timing import Target, Timing, interleaved, ratio

EPOCH_SECONDS = 15.0
QUICK_EPOCH_SECONDS = 0.5
BATCH, SIDE, CLASSES = 8, 64, 10
MAX_SHARE = 1.02
RECORDINGS = 10


class Training:
    """A loop whose epochs take a number of seconds of CPU time."""

    def __init__(self, epoch_seconds: float) -> None:
        torch.manual_seed(0)
        self.network = torchvision.models.resnet18(num_classes=CLASSES)
        self._optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9)
        self.images = torch.rand(BATCH, 3, SIDE, SIDE)
        self._labels = torch.arange(BATCH) % CLASSES
        step_seconds = statistics.median(_cpu_seconds(self.step) for _ in range(6))
        self.steps = max(1, math.ceil(epoch_seconds / step_seconds))

    def train_epoch(self) -> None:
        for _ in range(self.steps):
            self.step()

    def step(self) -> None:
        loss = nn.functional.cross_entropy(self.network(self.images), self._labels)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()


def run(rounds: int, quick: bool) -> Report:
    torch.set_num_threads(1)
    epoch_seconds = QUICK_EPOCH_SECONDS if quick else EPOCH_SECONDS
    training = Training(epoch_seconds)
    cpu_seconds: dict[bool, list[float]] = {False: [], True: []}
    blocked_milliseconds: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder), CAMREEL_LOG_REQUESTS="0") as url,
    ):
        recorder = camreel.Recorder(
            training.network, probes=training.images, url=url, spool=Path(folder) / "spool"
        )

        def epoch(*, is_recorded: bool) -> float:
            _wait_until(lambda: recorder.status.pending_epochs == 0)
            start, cpu_start = time.perf_counter(), time.process_time()
            if is_recorded:
                recorder.epoch()
                blocked_milliseconds.append(1000 * (time.perf_counter() - start))
            training.train_epoch()
            cpu_seconds[is_recorded].append(time.process_time() - cpu_start)
            return time.perf_counter() - start

        def record() -> float:
            """CPU seconds of an epoch's recording and sending, while nothing is trained."""
            training.step()  # other weights: all are sent
            start = time.process_time()
            recorder.epoch()
            _wait_until(lambda: recorder.status.pending_epochs == 0)
            return time.process_time() - start

        epoch(is_recorded=True)  # to warm up: the service has the network then
        cpu_seconds[True].clear()
        blocked_milliseconds.clear()
        alone, recorded = interleaved(
            {
                "an epoch alone": lambda: epoch(is_recorded=False),
                "an epoch with a recorder": lambda: epoch(is_recorded=True),
            },
            rounds,
        ).values()
        recording_shares = [100 * record() / epoch_seconds for _ in range(RECORDINGS)]
        if recorder.status.skipped_epochs or recorder.status.problem:
            raise SystemExit(f"the recorder has not recorded: {recorder.status}")
        recorder.close()
    cpu_alone, cpu_recorded = (
        Timing("", cpu_seconds[is_recorded]) for is_recorded in (False, True)
    )
    return Report(
        "recorder",
        f"ResNet-18 (46.8 MB), {training.steps} steps of {BATCH} images of {SIDE} x {SIDE} pixels "
        "on one thread; the service, on SQLite, is another process on the same machine.",
        [alone, recorded],
        [
            ratio("with a recorder / alone, wall time", recorded, alone, Target("<=", MAX_SHARE)),
            ratio("with a recorder / alone, CPU time of the training", cpu_recorded, cpu_alone),
        ],
        [
            Figure("`epoch` blocks the training", "ms", blocked_milliseconds),
            Figure(
                f"CPU time of recording and sending alone, of {epoch_seconds:g} s",
                "%",
                recording_shares,
                Target("<=", 100 * (MAX_SHARE - 1)),
            ),
        ],
    )


def _cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.05)
