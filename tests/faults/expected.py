"""The expected state of a run: a model that tests compare with the store."""

from dataclasses import dataclass, field

from service.store.run_lifecycle import Lease
from service.store.run_status import TERMINAL_STATUSES, RunStatus

MAX_ATTEMPTS = 3


@dataclass
class Expected:
    epochs_total: int
    status: str = RunStatus.QUEUED
    epochs_done: int = -1
    attempt: int = 0
    lost_workers: int = 0
    cancel_requested: bool = False
    holder: Lease | None = None
    events: list[dict] = field(default_factory=lambda: [{"status": RunStatus.QUEUED}])

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL_STATUSES

    def change_status(self, status: str) -> None:
        self.status = status
        self.events.append({"status": status})

    def claim(self, lease: Lease) -> None:
        self.attempt += 1
        self.holder = lease
        self.change_status(RunStatus.RUNNING)

    def advance(self, epoch: int) -> None:
        self.epochs_done = epoch
        self.events.append({"epoch": epoch})

    def finish(self, status: str) -> None:
        self.holder = None
        self.change_status(status)

    def cancel(self) -> None:
        if self.status == RunStatus.QUEUED:
            self.finish(RunStatus.CANCELLED)
        else:
            self.cancel_requested = True

    def lose_worker(self, count: int = 1) -> None:
        """The worker of the run is lost."""
        if self.lost_workers + count >= MAX_ATTEMPTS:
            self.finish(RunStatus.FAILED)
            return
        self.lost_workers += count
        self.finish(RunStatus.QUEUED)

    def resume(self, total: int) -> None:
        self.epochs_total = total
        self.lost_workers = 0
        self.cancel_requested = False
        self.change_status(RunStatus.QUEUED)
