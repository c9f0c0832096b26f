"""An executor that starts nothing: it notes what it was given, and a test plays the workers."""

from dataclasses import dataclass

from service.jobs import ProcessExit, Task
from service.store import run_lifecycle, runs
from service.store.run_lifecycle import Lease
from service.store.store import Store


@dataclass(eq=False)
class Noted:
    """A job, and the attempt that its run had reached when it was submitted."""

    job: Task
    attempt: int

    @property
    def run_id(self) -> int:
        return self.job.arguments[1]

    @property
    def owner(self) -> str:
        return self.job.arguments[2]


class NotingExecutor:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.waiting: list[Noted] = []
        self.running: list[Noted] = []
        self.killed: list[Noted] = []

    def submit(self, job: Task) -> None:
        with self.store.read_session() as session:
            attempt = runs.get(session, job.arguments[1]).attempt
        self.waiting.append(Noted(job, attempt))

    def accepts_tasks(self) -> bool:
        return True

    def has_task(self, name: str) -> bool:
        return any(noted.job.name == name for noted in (*self.waiting, *self.running))

    def kill(self, name: str) -> None:
        found = [noted for noted in self.running if noted.job.name == name]
        self.killed += found
        self.running = [noted for noted in self.running if noted not in found]

    def close(self) -> None:
        pass

    def take(self, noted: Noted) -> Lease | None:
        """A worker starts, and takes the run if it can."""
        self.waiting.remove(noted)
        with self.store.write_session() as session:
            lease = run_lifecycle.claim(session, noted.run_id, noted.owner)
        if lease is not None:
            self.running.append(noted)
        return lease

    def end(self, noted: Noted, exit_code: int, *, during_shutdown: bool = False) -> None:
        """A worker has ended, as the executor's own thread would tell."""
        if noted in self.running:
            self.running.remove(noted)
        noted.job.on_exit(ProcessExit(exit_code, during_shutdown))
