"""What a run is expected to be: the model that is kept beside the store."""

from dataclasses import dataclass, field

from service.store.run_lifecycle import Lease
from service.store.run_status import TERMINAL_STATUSES, RunStatus

MAX_ATTEMPTS = 3


@dataclass
class Expected:
    total: int
    status: str = RunStatus.QUEUED
    done: int = -1
    attempt: int = 0
    strikes: int = 0
    cancel_requested: bool = False
    holder: Lease | None = None
    told: list[dict] = field(default_factory=lambda: [{"status": RunStatus.QUEUED}])

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL_STATUSES

    def turn(self, status: str) -> None:
        self.status = status
        self.told.append({"status": status})

    def taken(self, lease: Lease) -> None:
        self.attempt += 1
        self.holder = lease
        self.turn(RunStatus.RUNNING)

    def reached(self, epoch: int) -> None:
        self.done = epoch
        self.told.append({"epoch": epoch})

    def finished(self, status: str) -> None:
        self.holder = None
        self.turn(status)

    def cancelled(self) -> None:
        if self.status == RunStatus.QUEUED:
            self.finished(RunStatus.CANCELLED)
        else:
            self.cancel_requested = True

    def left(self, strikes: int = 1) -> None:
        """Its worker is gone."""
        if self.strikes + strikes >= MAX_ATTEMPTS:
            self.finished(RunStatus.FAILED)
            return
        self.strikes += strikes
        self.finished(RunStatus.QUEUED)

    def resumed(self, total: int) -> None:
        self.total = total
        self.strikes = 0
        self.cancel_requested = False
        self.turn(RunStatus.QUEUED)
