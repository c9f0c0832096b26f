"""Following a run on the terminal: one bar, with loss, accuracy and blank maps so far."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Snapshot:
    """A run as it stands. `blanks` is (blank, total) by method, over the epochs so far."""

    status: str
    epochs_done: int
    epochs_total: int
    epoch_share: float  # of the epoch in work, 0..1
    train_loss: float | None
    test_accuracy: float | None
    blanks: dict[str, tuple[int, int]]

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come."""
        return self.status in ("succeeded", "failed", "cancelled")

    @property
    def words(self) -> str:
        """What the bar says behind itself."""
        parts = []
        if self.train_loss is not None:
            parts.append(f"loss {self.train_loss:.4f}")
        if self.test_accuracy is not None:
            parts.append(f"accuracy {self.test_accuracy:.2%}")
        counted = {name: count for name, count in self.blanks.items() if count[1]}
        if counted:
            spoken = ", ".join(f"{name} {b}/{total}" for name, (b, total) in counted.items())
            parts.append(f"blank: {spoken}")
        return "  ".join(parts) or self.status


def follow(console: Console, snapshot: Callable[[], Snapshot]) -> Snapshot:
    """Show a run until it ends; returns how it ended."""
    progress = Progress(
        TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn()
    )
    now = snapshot()
    task = progress.add_task("", total=now.epochs_total)
    # What was measured has a line of its own: beside the bar it would be cut off at 80 columns.
    with Live(progress, console=console) as live:
        while True:
            done = max(0, now.epochs_done) + (0 if now.ended else now.epoch_share)
            progress.update(task, completed=round(done, 2))
            live.update(Group(progress, Text(now.words)))
            if now.ended:
                break
            time.sleep(POLL_SECONDS)
            now = snapshot()
    if not console.is_terminal:
        console.print()  # where nothing moves, Live leaves the last line open
    return now
