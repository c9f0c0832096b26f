"""Out of memory: kills by the kernel are recognized, and a failed allocation ends a run."""

import multiprocessing
import os
import queue
import resource
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.core.spec import RunSpec
from service.flows import worker
from service.flows.checkpoints import load_verified_checkpoint
from service.flows.run_errors import cause_of
from service.flows.workspace import Workspace
from service.jobs import ProcessExecutor, ProcessExit, Task, kernel_kills
from service.store import epochs, runs
from service.store.store import open_store
from tests.faults.memory_hog import LIMIT_BYTES
from tests.script_environment import script_environment
from tests.torture import invariants

SECONDS = 60.0
FORKS = multiprocessing.get_context("forkserver")
GROUPS = {
    "v2": ("memory.events", "low 0\nhigh 0\nmax 7\noom 4\noom_kill {}\noom_group_kill 0\n"),
    "v1": ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"),
}


@pytest.fixture(params=GROUPS)
def set_oom_kills(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Sets the number of kills by the kernel that this process's cgroup reports."""
    name, text = GROUPS[request.param]
    monkeypatch.setattr(kernel_kills, "CGROUPS", tmp_path)

    def write(count: int) -> None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.format(count))

    return write


def test_oom_kills_are_read_from_the_cgroup(set_oom_kills, tmp_path: Path) -> None:
    assert kernel_kills.oom_kills() is None
    set_oom_kills(3)
    assert kernel_kills.oom_kills() == 3


@pytest.mark.parametrize(
    ("cgroup_line", "count_file"),
    [
        ("0::/system.slice/camreel.service", "{}/memory.events"),
        ("9:cpu:/\n4:rdma,memory:/system.slice/camreel.service", "memory/{}/memory.oom_control"),
    ],
)
def test_oom_kills_are_read_from_the_cgroup_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cgroup_line: str, count_file: str
) -> None:
    groups = tmp_path / "cgroup"
    groups.write_text(f"12:pids:/other\n{cgroup_line}\n")
    monkeypatch.setattr(kernel_kills, "CGROUPS", tmp_path)
    monkeypatch.setattr(kernel_kills, "OWN_GROUPS", groups)
    file = tmp_path / count_file.format("system.slice/camreel.service")
    for path, count in ((file, 2), (file.parents[2] / file.name, 9)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"oom_kill {count}\n")
    assert kernel_kills.oom_kills() == 2


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A cgroup with little memory."""
    group = kernel_kills.own_group(kernel_kills.V1) / f"camreel-test-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
    except OSError as error:
        pytest.skip(f"no cgroup of version 1 can be made here: {error}")
    yield group
    deadline = time.monotonic() + SECONDS
    while (group / "cgroup.procs").read_text():  # until its last processes have ended
        assert time.monotonic() < deadline
        time.sleep(0.05)
    group.rmdir()


# In a separate process, because the kernel kills processes of the cgroup.
SCRIPT = """
import os, queue, sys
from pathlib import Path
Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
from service.jobs import EXECUTORS, Task
from memory_hog import hoard

exits = queue.Queue()
executor = EXECUTORS["processes"](1, ())
executor.submit(Task(hoard, (), exits.put))
print(exits.get(timeout=60))
executor.close()
"""


def test_worker_killed_by_the_kernel_in_a_full_cgroup_is_out_of_memory(
    small_group: Path,
) -> None:
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(small_group)],
        env=script_environment(__file__),
        capture_output=True,
        text=True,
        timeout=SECONDS * 2,
        check=True,
    )
    assert process.stdout.strip() == str(ProcessExit(-signal.SIGKILL, False, out_of_memory=True))
    assert cause_of(ProcessExit(-signal.SIGKILL, False, out_of_memory=True)).type == "oom"


def write_pid_and_wait(file: Path) -> None:
    file.write_text(str(os.getpid()))
    time.sleep(SECONDS)


@pytest.fixture
def executor() -> Iterator[ProcessExecutor]:
    process_executor = ProcessExecutor(1)
    yield process_executor
    process_executor.close()


@pytest.mark.parametrize("by_the_kernel", [True, False])
def test_sigkill_is_out_of_memory_if_the_kernel_counted_a_kill(
    set_oom_kills, executor: ProcessExecutor, tmp_path: Path, by_the_kernel: bool
) -> None:
    set_oom_kills(3)
    file = tmp_path / "pid"
    exits: queue.Queue[ProcessExit] = queue.Queue()
    executor.submit(Task(write_pid_and_wait, (file,), exits.put, name="one"))
    deadline = time.monotonic() + SECONDS
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    set_oom_kills(4 if by_the_kernel else 3)
    os.kill(int(file.read_text()), signal.SIGKILL)
    process_exit = exits.get(timeout=SECONDS)
    assert process_exit == ProcessExit(-signal.SIGKILL, False, out_of_memory=by_the_kernel)
    assert cause_of(process_exit).type == ("oom" if by_the_kernel else "worker_killed")


def train_with_little_memory(workspace: Workspace, run_id: int) -> None:
    record = worker.record_epoch

    def record_and_limit_memory(*args) -> None:
        record(*args)
        used_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used_bytes + 2**26, used_bytes + 2**26))

    worker.record_epoch = record_and_limit_memory
    worker.train_run(workspace, run_id)


def test_run_out_of_memory_fails_with_oom_and_keeps_its_epochs(
    migrated_sqlite: Path, tmp_path: Path
) -> None:
    (tmp_path / "camreel.db").write_bytes(migrated_sqlite.read_bytes())
    workspace = Workspace(f"sqlite:///{tmp_path / 'camreel.db'}", "sql", tmp_path)
    # A batch of all images needs some hundred MiB more than the evaluation.
    spec = RunSpec(dataset="digits", epochs=2, batch_size=1500, probes={"per_class": 1})
    with open_store(workspace.database) as store:
        with store.write_session() as session:
            run_id = runs.create(session, "", [], spec.model_dump(mode="json"), spec.epochs).id
        worker = FORKS.Process(target=train_with_little_memory, args=(workspace, run_id))
        worker.start()
        worker.join(SECONDS * 2)
        assert worker.exitcode == 0
        with store.read_session() as session:
            run = runs.get(session, run_id)
            first = epochs.get(session, run_id, 0)
        assert (run.status, run.error.type, run.epochs_done) == ("failed", "oom", 0), run.error
        assert load_verified_checkpoint(store, first)
        invariants.check(store, tmp_path)
