"""Progress of runs: bars on a terminal, one line per epoch if the output is piped."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from service.cli.terminal import print_line
from service.flows.run_activity import RunActivity
from service.store.run_status import TERMINAL_STATUSES, RunPhase

POLL_SECONDS = 0.25


PHASE_TEXTS = {
    RunPhase.STARTING: "starting a worker",
    RunPhase.LOADING: "loading the dataset",
    RunPhase.TRAINING: "training epoch {epoch}",
    RunPhase.EVALUATING: "evaluating epoch {epoch} on {test_images:,} test images",
    RunPhase.RECORDING: "recording the maps of epoch {epoch}",
}


@dataclass(frozen=True)
class Snapshot:
    """The state of a run. `blanks` has (blank, total) by method, over the completed epochs."""

    status: str
    epochs_done: int
    epochs_total: int
    epoch_fraction: float  # of the current epoch, 0..1
    train_loss: float | None
    test_accuracy: float | None
    blanks: dict[str, tuple[int, int]]
    activity: RunActivity
    test_images_total: int

    @property
    def has_ended(self) -> bool:
        """Whether the run has reached a terminal status."""
        return self.status in TERMINAL_STATUSES

    @property
    def epochs_completed(self) -> float:
        """Completed epochs plus the fraction of the current one."""
        return max(0, self.epochs_done) + (0 if self.has_ended else self.epoch_fraction)

    @property
    def activity_text(self) -> str:
        """What the run does, seconds per epoch and time left; empty if nothing is known."""
        epoch, pace = self.epochs_done + 1, self.activity.seconds_per_epoch
        parts = []
        if self.activity.phase is not None:
            text = PHASE_TEXTS[self.activity.phase]
            parts.append(text.format(epoch=epoch, test_images=self.test_images_total))
        if self.activity.queue_position is not None:
            parts.append(f"number {self.activity.queue_position} in the queue")
        if pace is not None:
            seconds_left = pace * (self.epochs_total - self.epochs_completed)
            parts.append(f"{_duration(pace)} per epoch, about {_duration(seconds_left)} left")
        return "  ".join(parts)

    @property
    def metrics_text(self) -> str:
        """Loss, accuracy and blank maps of the last epoch; the status before the first epoch."""
        parts = []
        if self.train_loss is not None:
            parts.append(f"loss {self.train_loss:.4f}")
        if self.test_accuracy is not None:
            parts.append(f"accuracy {self.test_accuracy:.2%}")
        counts = {name: count for name, count in self.blanks.items() if count[1]}
        if counts:
            blanks = ", ".join(f"{name} {b}/{total}" for name, (b, total) in counts.items())
            parts.append(f"blank: {blanks}")
        return "  ".join(parts) or self.status


def follow(console: Console, snapshot: Callable[[], Snapshot]) -> Snapshot:
    """Show a run's progress until it ends; its last snapshot."""
    (last_snapshot,) = follow_all(console, {"": snapshot}).values()
    return last_snapshot


def follow_all(
    console: Console, snapshots: Mapping[str, Callable[[], Snapshot]]
) -> dict[str, Snapshot]:
    """Show the progress of labeled runs until all have ended; their last snapshots by label."""
    display = _Bars(console, snapshots) if console.is_terminal else _Lines(console)
    with display:
        while True:
            latest = {label: take_snapshot() for label, take_snapshot in snapshots.items()}
            display.show(latest)
            if all(snapshot.has_ended for snapshot in latest.values()):
                return latest
            time.sleep(POLL_SECONDS)


class _Bars:
    """A progress bar for each run. Metrics are on lines of their own: they need the width."""

    def __init__(self, console: Console, labels: Iterable[str]) -> None:
        self._progress = Progress(
            TextColumn("{task.description}epoch", markup=False),
            MofNCompleteColumn(),
            BarColumn(),
        )
        self._tasks = {
            label: self._progress.add_task(_prefix(label), total=None) for label in labels
        }
        self._live = Live(self._progress, console=console)

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, latest: Mapping[str, Snapshot]) -> None:
        for label, snapshot in latest.items():
            self._progress.update(
                self._tasks[label],
                total=snapshot.epochs_total,
                completed=round(snapshot.epochs_completed, 2),
            )
        lines = [
            Text(f"{_prefix(label)}{line}")
            for label, snapshot in latest.items()
            for line in (snapshot.activity_text, snapshot.metrics_text)
            if line
        ]
        self._live.update(Group(self._progress, *lines))


class _Lines:
    """A line for each epoch, each change of status, and what a run waits for before epoch 0."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, tuple[str, int, str]] = {}

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, latest: Mapping[str, Snapshot]) -> None:
        for label, snapshot in latest.items():
            waiting_text = snapshot.activity_text if snapshot.epochs_done < 0 else ""
            state = (snapshot.status, snapshot.epochs_done, waiting_text)
            if state != self._shown.get(label):
                self._shown[label] = state
                epoch = f"epoch {max(0, snapshot.epochs_done)}/{snapshot.epochs_total}"
                line = f"{_prefix(label)}{epoch}  {snapshot.status}"
                if snapshot.metrics_text != snapshot.status:
                    line += f"  {snapshot.metrics_text}"
                if waiting_text:
                    line += f"  {waiting_text}"
                print_line(line, console=self._console)


def _duration(seconds: float) -> str:
    """Two significant units: `0.8 s`, `45 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _prefix(label: str) -> str:
    return f"{label}: " if label else ""
