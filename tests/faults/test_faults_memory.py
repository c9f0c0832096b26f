"""Want of memory: the kernel's kill is told from others; a failed allocation ends a run."""

import multiprocessing
import os
import queue
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.core.spec import RunSpec
from service.flows import training
from service.flows.endings import cause_of
from service.flows.quarantine import sound_checkpoint
from service.flows.workspace import Workspace
from service.jobs import Ending, Job, ProcessExecutor, kernel_kills
from service.store import epochs, runs
from service.store.store import opened
from tests.torture import invariants

SECONDS = 60.0
FORKS = multiprocessing.get_context("forkserver")
GROUPS = {
    "v2": ("memory.events", "low 0\nhigh 0\nmax 7\noom 4\noom_kill {}\noom_group_kill 0\n"),
    "v1": ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"),
}


@pytest.fixture(params=GROUPS)
def kills(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Sets how often the kernel killed in this process's group, as far as it can see."""
    name, text = GROUPS[request.param]
    monkeypatch.setattr(kernel_kills, "CGROUPS", tmp_path)

    def write(count: int) -> None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.format(count))

    return write


def test_the_groups_count_is_read_and_none_is_none(kills, tmp_path: Path) -> None:
    assert kernel_kills.oom_kills() is None
    kills(3)
    assert kernel_kills.oom_kills() == 3


def tell_and_wait(file: Path) -> None:
    file.write_text(str(os.getpid()))
    time.sleep(SECONDS)


@pytest.fixture
def executor() -> Iterator[ProcessExecutor]:
    one = ProcessExecutor(1)
    yield one
    one.close()


@pytest.mark.parametrize("by_the_kernel", [True, False])
def test_a_sigkill_is_the_kernels_where_its_count_went_up(
    kills, executor: ProcessExecutor, tmp_path: Path, by_the_kernel: bool
) -> None:
    kills(3)
    file = tmp_path / "pid"
    endings: queue.Queue[Ending] = queue.Queue()
    executor.submit(Job(tell_and_wait, (file,), endings.put, name="one"))
    deadline = time.monotonic() + SECONDS
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    kills(4 if by_the_kernel else 3)
    os.kill(int(file.read_text()), signal.SIGKILL)
    ending = endings.get(timeout=SECONDS)
    assert ending == Ending(-signal.SIGKILL, False, out_of_memory=by_the_kernel)
    assert cause_of(ending).type == ("oom" if by_the_kernel else "worker_killed")


def train_with_little_memory(workspace: Workspace, run_id: int) -> None:
    record = training.record_epoch

    def record_then_bound(*args) -> None:
        record(*args)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))

    training.record_epoch = record_then_bound
    training.train_run(workspace, run_id)


def test_a_run_that_gets_no_memory_ends_as_oom_and_keeps_its_epochs(
    migrated_sqlite: Path, tmp_path: Path
) -> None:
    (tmp_path / "camreel.db").write_bytes(migrated_sqlite.read_bytes())
    place = Workspace(f"sqlite:///{tmp_path / 'camreel.db'}", "sql", tmp_path, os.cpu_count() or 1)
    # A batch of all images: some hundred MiB more than testing takes.
    spec = RunSpec(dataset="digits", epochs=2, batch_size=1500, probes={"per_class": 1})
    with opened(place.database_url) as store:
        with store.writing() as session:
            run_id = runs.create(session, "", [], spec.model_dump(mode="json"), spec.epochs).id
        worker = FORKS.Process(target=train_with_little_memory, args=(place, run_id))
        worker.start()
        worker.join(SECONDS * 2)
        assert worker.exitcode == 0
        with store.reading() as session:
            run = runs.get(session, run_id)
            first = epochs.get(session, run_id, 0)
        assert (run.status, run.error.type, run.epochs_done) == ("failed", "oom", 0), run.error
        assert sound_checkpoint(store, first)
        invariants.check(store, tmp_path)
