"""Jobs in separate processes: limited in number, in order, with no process left behind."""

import contextlib
import multiprocessing.forkserver
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.jobs import EXECUTORS, Executor, ProcessExit, Task, processes
from tests.processes import wait_until
from tests.script_environment import script_environment

SECONDS = 30.0  # enough for a slow machine


@pytest.fixture
def new_executor() -> Iterator[Callable[[int], Executor]]:
    """Creates executors; closes them at the end."""
    executors = []

    def make(parallel: int) -> Executor:
        executors.append(EXECUTORS["processes"](parallel, ()))
        return executors[-1]

    yield make
    for executor in executors:
        executor.close()


@pytest.fixture
def exits() -> queue.Queue[ProcessExit]:
    return queue.Queue()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """The server that jobs connect to: when a process ends in any way, its connection closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        yield server


def port_of(server: socket.socket) -> int:
    port: int = server.getsockname()[1]
    return port


def has_ended(connection: socket.socket) -> bool:
    connection.settimeout(SECONDS)
    with connection:
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:
            return True


# Functions of the workers, which import this module.


def stay_connected(port: int) -> None:
    # Longer than `has_ended` waits, so that the process does not end by itself.
    with socket.create_connection(("127.0.0.1", port), timeout=2 * SECONDS) as connection:
        connection.recv(1)


class SlowToUnpickle:
    """Connects while it is unpickled, like a function whose module is slow to import."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return stay_connected, (self.port,)


def send_pid_and_stay(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        connection.sendall(str(os.getpid()).encode())
        connection.recv(1)


def ignore_sigterm(port: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stay_connected(port)


def write_line(file: Path, line: str) -> None:
    with file.open("a") as lines:
        lines.write(f"{line}\n")


def count_concurrent_jobs(folder: Path, name: str, expected: int) -> None:
    """Wait until the expected number of jobs run at once, and write the observed number."""
    mark = folder / f"{name}.running"
    mark.touch()
    deadline = time.monotonic() + SECONDS
    while True:
        concurrent = len(list(folder.glob("*.running")))
        counts = [int(file.read_text() or 0) for file in folder.glob("*.count")]
        if max([concurrent, *counts]) >= expected or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    (folder / f"{name}.count").write_text(str(concurrent))
    time.sleep(0.1)
    mark.unlink()


def fail() -> None:
    raise ValueError("on purpose")


def kill_itself(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(SECONDS)


def survive_ctrl_c(file: Path) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    file.write_text("alive")


def test_job_runs_in_another_process_and_reports_its_exit(new_executor, exits, tmp_path):
    new_executor(1).submit(Task(write_line, (tmp_path / "lines", "done"), exits.put))
    assert exits.get(timeout=SECONDS) == ProcessExit(0, during_shutdown=False)
    assert (tmp_path / "lines").read_text() == "done\n"


def test_number_of_parallel_jobs_is_exact(new_executor, exits, tmp_path):
    executor = new_executor(2)
    for i in range(4):
        executor.submit(Task(count_concurrent_jobs, (tmp_path, str(i), 2), exits.put))
    for _ in range(4):
        assert exits.get(timeout=SECONDS).exit_code == 0
    assert max(int(file.read_text()) for file in tmp_path.glob("*.count")) == 2


def test_jobs_start_in_order(new_executor, exits, tmp_path):
    executor = new_executor(1)
    for i in range(3):
        executor.submit(Task(write_line, (tmp_path / "lines", str(i)), exits.put))
    for _ in range(3):
        exits.get(timeout=SECONDS)
    assert (tmp_path / "lines").read_text().split() == ["0", "1", "2"]


def test_jobs_in_the_background_start_after_all_others(new_executor, exits, tmp_path):
    executor = new_executor(1)
    names = [("first", False), ("a", True), ("b", True), ("single", False)]
    for name, in_background in names:
        executor.submit(
            Task(
                write_line,
                (tmp_path / "lines", name),
                exits.put,
                name,
                in_background=in_background,
            )
        )
    assert executor.has_task("a")
    for _ in names:
        exits.get(timeout=SECONDS)
    # The slot takes the first job at once, and finds the single one before those submitted earlier.
    assert (tmp_path / "lines").read_text().split() == ["first", "single", "a", "b"]


def test_exit_codes_are_reported_and_slots_are_reused(new_executor, exits):
    jobs: list[tuple[Callable[..., None], tuple, int]] = [
        (sys.exit, (3,), 3),
        (os._exit, (4,), 4),
        (fail, (), 1),
        (kill_itself, (signal.SIGKILL,), -signal.SIGKILL),
        (kill_itself, (signal.SIGTERM,), -signal.SIGTERM),
        (kill_itself, (signal.SIGSEGV,), -signal.SIGSEGV),
        (print, (), 0),
    ]
    executor = new_executor(1)
    for function, arguments, _ in jobs:
        executor.submit(Task(function, arguments, exits.put))
    for *_, exit_code in jobs:
        assert exits.get(timeout=SECONDS) == ProcessExit(exit_code, during_shutdown=False)


def test_killed_jobs_leave_no_file_descriptors(new_executor, exits):
    executor = new_executor(1)

    def descriptors_after_kills(count: int) -> int:
        for _ in range(count):
            executor.submit(Task(kill_itself, (signal.SIGKILL,), exits.put))
        for _ in range(count):
            exits.get(timeout=SECONDS)
        return len(list(Path("/proc/self/fd").iterdir()))

    after_one = descriptors_after_kills(1)
    assert descriptors_after_kills(8) <= after_one


def test_job_that_cannot_be_started_is_reported_as_failed(new_executor, exits):
    executor = new_executor(1)
    executor.submit(Task(write_line, (threading.Lock(), "no lock can be sent"), exits.put))
    process_exit = exits.get(timeout=5)
    assert process_exit.exit_code != 0
    assert not process_exit.during_shutdown


def test_workers_ignore_ctrl_c(new_executor, exits, tmp_path):
    new_executor(1).submit(Task(survive_ctrl_c, (tmp_path / "file",), exits.put))
    assert exits.get(timeout=SECONDS).exit_code == 0
    assert (tmp_path / "file").read_text() == "alive"


def test_close_ends_running_jobs_and_drops_waiting_ones(new_executor, exits, server, tmp_path):
    executor = new_executor(2)
    for _ in range(2):
        executor.submit(Task(stay_connected, (port_of(server),), exits.put))
    for _ in range(3):
        executor.submit(Task(write_line, (tmp_path / "lines", "too late"), exits.put))
    connections = [server.accept()[0] for _ in range(2)]
    executor.close()
    assert [exits.get(timeout=0) for _ in range(2)] == [ProcessExit(-signal.SIGTERM, True)] * 2
    assert all(map(has_ended, connections))
    assert exits.empty()
    assert not (tmp_path / "lines").exists()


@pytest.mark.parametrize("delay_seconds", [0.0, 0.05, 0.3])
def test_close_while_processes_start_leaves_none(new_executor, exits, server, delay_seconds):
    executor = new_executor(2)
    for _ in range(4):
        executor.submit(Task(stay_connected, (port_of(server),), exits.put))
    time.sleep(delay_seconds)
    executor.close()
    server.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            assert has_ended(server.accept()[0])
    while not exits.empty():
        assert exits.get().during_shutdown


def test_process_that_ignores_sigterm_is_killed_after_a_grace_period(
    new_executor, exits, server, monkeypatch
):
    monkeypatch.setattr(processes, "TERMINATION_GRACE_SECONDS", 0.2)
    executor = new_executor(1)
    executor.submit(Task(ignore_sigterm, (port_of(server),), exits.put))
    connection, _ = server.accept()
    executor.close()
    assert exits.get(timeout=0) == ProcessExit(-signal.SIGKILL, during_shutdown=True)
    assert has_ended(connection)


@pytest.fixture
def fork_server_pid(new_executor, exits, monkeypatch) -> Iterator[int]:
    """The process id of the fork server, to be stopped: then it neither forks nor reports exits."""
    monkeypatch.setattr(processes, "TERMINATION_GRACE_SECONDS", 0.2)
    first = new_executor(1)
    first.submit(Task(print, (), exits.put))
    assert exits.get(timeout=SECONDS).exit_code == 0
    process_id = multiprocessing.forkserver._forkserver._forkserver_pid
    yield process_id
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGCONT)


def test_close_is_bounded_while_the_fork_server_is_stopped(
    new_executor, exits, server, fork_server_pid
):
    executor = new_executor(2)
    executor.submit(Task(stay_connected, (port_of(server),), exits.put))
    connection, _ = server.accept()
    os.kill(fork_server_pid, signal.SIGSTOP)
    executor.submit(Task(stay_connected, (port_of(server),), exits.put))  # never starts
    wait_until(lambda: executor._starting)
    start = time.monotonic()
    executor.close()
    assert time.monotonic() - start < SECONDS
    assert has_ended(connection)
    process_exits = [exits.get(timeout=SECONDS) for _ in range(2)]
    assert all(process_exit.during_shutdown for process_exit in process_exits)
    # The next executor starts another fork server.
    executor = new_executor(1)
    executor.submit(Task(print, (), exits.put))
    assert exits.get(timeout=SECONDS) == ProcessExit(0, during_shutdown=False)


def test_abort_does_not_wait(new_executor, exits, server, fork_server_pid):
    executor = new_executor(1)
    executor.submit(Task(ignore_sigterm, (port_of(server),), exits.put))
    connection, _ = server.accept()
    os.kill(fork_server_pid, signal.SIGSTOP)
    executor.abort()
    assert has_ended(connection)


def test_slot_continues_after_an_exception_in_the_exit_handler(new_executor, exits, caplog):
    def fail_to_handle(_: ProcessExit) -> None:
        raise RuntimeError("a bug")

    executor = new_executor(1)
    executor.submit(Task(print, (), fail_to_handle, should_start=lambda: 1 / 0))
    executor.submit(Task(print, (), fail_to_handle))
    executor.submit(Task(print, (), exits.put))
    assert exits.get(timeout=SECONDS) == ProcessExit(0, during_shutdown=False)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_job_is_found_and_killed_by_its_name_even_if_stopped(new_executor, exits, server):
    executor = new_executor(1)
    port = port_of(server)
    executor.submit(Task(send_pid_and_stay, (port,), exits.put, name="runs"))
    executor.submit(Task(print, (), exits.put, name="waits"))
    connection, _ = server.accept()
    os.kill(int(connection.recv(16)), signal.SIGSTOP)
    executor.kill("waits")
    names = ("runs", "waits", "missing")
    assert [executor.has_task(name) for name in names] == [True, True, False]
    assert [executor.has_started(name) for name in names] == [True, False, False]
    executor.kill("runs")
    process_exits = [exits.get(timeout=SECONDS) for _ in range(2)]
    assert process_exits == [
        ProcessExit(-signal.SIGKILL, during_shutdown=False),
        ProcessExit(0, during_shutdown=False),
    ]
    assert has_ended(connection)
    executor.close()
    assert not executor.has_task("runs")
    assert not executor.has_task("waits")
    assert not executor.has_started("runs")


def test_job_is_dropped_if_should_start_is_false(new_executor, exits, tmp_path):
    executor = new_executor(1)
    job = Task(write_line, (tmp_path / "lines", "unwanted"), exits.put, should_start=lambda: False)
    executor.submit(job)
    executor.submit(Task(write_line, (tmp_path / "lines", "wanted"), exits.put))
    assert exits.get(timeout=SECONDS) == ProcessExit(0, during_shutdown=False)
    executor.close()
    assert exits.empty()
    assert (tmp_path / "lines").read_text() == "wanted\n"


def test_closed_executor_accepts_no_jobs_and_can_be_closed_again(new_executor, exits):
    executor = new_executor(1)
    executor.close()
    with pytest.raises(RuntimeError):
        executor.submit(Task(fail, (), exits.put))
    executor.close()
    assert exits.empty()


@pytest.mark.parametrize(
    "job",
    [
        "Task(stay_connected, (int(sys.argv[1]),), print)",
        "Task(print, (SlowToUnpickle(int(sys.argv[1])),), print)",
    ],
    ids=["running", "importing"],
)
def test_workers_end_when_their_parent_is_killed(server, job):
    script = (
        "import sys, time\n"
        "from service.jobs import Task, ProcessExecutor\n"
        "from test_jobs_processes import SlowToUnpickle, stay_connected\n"
        "executor = ProcessExecutor(2)\n"
        "for _ in range(2):\n"
        f"    executor.submit({job})\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(port_of(server))],
        env=script_environment(__file__),
    )
    try:
        connections = [server.accept()[0] for _ in range(2)]
    finally:
        parent.kill()
        parent.wait()
    assert all(map(has_ended, connections))


def test_inline_job_that_exits_reports_its_exit_code(exits):
    EXECUTORS["inline"](1, ()).submit(Task(sys.exit, (75,), exits.put))
    assert exits.get(timeout=0) == ProcessExit(75, during_shutdown=False)
