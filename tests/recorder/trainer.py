"""A training process that can be killed: it acknowledges each epoch after `epoch` has returned."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import camreel
import torch

from tests.recorder.conftest import TinyNetwork, change_weights

EPOCH_SECONDS = 0.02
# Forked from a process without threads: those of autograd do not survive a fork.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    # The last ones are what the first export of a process imports.
    [
        "tests.recorder.trainer",
        "camreel.recorder",
        "torch._dynamo",
        "torch._export.non_strict_utils",
        "torch._inductor.fx_utils",
        "torch._functorch.aot_autograd",
    ]
)


def network_after(epoch: int) -> TinyNetwork:
    """The network that the trainer has at an epoch."""
    torch.manual_seed(0)
    network = TinyNetwork()
    for number in range(epoch + 1):
        change_weights(network, number)
    return network


class Trainer:
    """The process of a training, and how many epochs it has acknowledged."""

    def __init__(self, root: Path, epochs: int, url: str | None) -> None:
        self._acknowledged = CONTEXT.Value("q", -1)
        self._process = CONTEXT.Process(
            target=_train, args=(root, epochs, url, self._acknowledged), daemon=True
        )
        self._process.start()

    @property
    def last_epoch(self) -> int:
        """The last epoch for which `epoch` has returned; -1 before the first."""
        # Without the lock, which a killed process may hold.
        return int(self._acknowledged.get_obj().value)

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def wait_for(self, epoch: int, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while self.last_epoch < epoch and self.is_alive:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def kill(self) -> int:
        """Kill the process; the last epoch that it acknowledged."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.join()
        return self.last_epoch

    def join(self) -> None:
        self._process.join(120)
        assert self._process.exitcode == 0


@contextmanager
def training(root: Path, epochs: int, url: str | None = None) -> Iterator[Trainer]:
    """A trainer that begins a run in `root`, or continues the one that is there."""
    trainer = Trainer(root, epochs, url)
    try:
        yield trainer
    finally:
        if trainer.is_alive:
            trainer.kill()


def _train(root: Path, epochs: int, url: str | None, acknowledged: Any) -> None:
    folders = camreel_spools(root)
    options: dict[str, Any] = {"resume": folders[0]} if folders else {}
    network = network_after(-1)
    recorder = camreel.Recorder(
        network, probes=torch.rand(2, 3, 8, 8), spool=root, url=url, name="killed", **options
    )
    first_epoch = recorder.status.recorded_epochs
    for epoch in range(epochs):
        change_weights(network, epoch)
        if epoch >= first_epoch:
            assert recorder.epoch(loss=epoch / 7) == epoch
            acknowledged.value = epoch
            time.sleep(EPOCH_SECONDS)
    recorder.close(timeout_seconds=90)
    os._exit(0)


def camreel_spools(root: Path) -> list[Path]:
    from camreel.spool import list_spools

    return list_spools(root)
