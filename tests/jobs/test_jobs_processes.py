"""Jobs in processes of their own: so many at once, in their order, and none left behind."""

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

SECONDS = 30.0  # what a slow machine may take; a fast one waits for nothing


@pytest.fixture
def executor() -> Iterator[Callable[[int], Executor]]:
    """Makes executors and closes them."""
    made = []

    def make(parallel: int) -> Executor:
        made.append(EXECUTORS["processes"](parallel, ()))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def endings() -> queue.Queue[ProcessExit]:
    return queue.Queue()


@pytest.fixture
def lives() -> Iterator[socket.socket]:
    """Where `stay_connected` connects to: a process that ends, however it does, hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        yield server


def port_of(server: socket.socket) -> int:
    port: int = server.getsockname()[1]
    return port


def has_ended(life: socket.socket) -> bool:
    life.settimeout(SECONDS)
    with life:
        try:
            return life.recv(1) == b""
        except ConnectionResetError:
            return True


# What the workers do. They import this module to find it.


def stay_connected(port: int) -> None:
    # Longer than `has_ended` waits: an end of its own accord is none that was asked for.
    with socket.create_connection(("127.0.0.1", port), timeout=2 * SECONDS) as life:
        life.recv(1)


class SlowToUnpack:
    """As a function is whose module imports much."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return stay_connected, (self.port,)


def tell_and_stay(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as life:
        life.sendall(str(os.getpid()).encode())
        life.recv(1)


def stay_connected_whatever_is_asked(port: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stay_connected(port)


def write_line(file: Path, line: str) -> None:
    with file.open("a") as lines:
        lines.write(f"{line}\n")


def meet(folder: Path, name: str, others: int) -> None:
    """Stay until so many were seen at once, and write down how many were."""
    mark = folder / f"{name}.here"
    mark.touch()
    deadline = time.monotonic() + SECONDS
    while True:
        here = len(list(folder.glob("*.here")))
        seen = [int(file.read_text() or 0) for file in folder.glob("*.seen")]
        if max([here, *seen]) >= others or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    (folder / f"{name}.seen").write_text(str(here))
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


def test_a_job_runs_in_another_process_and_its_end_is_told(executor, endings, tmp_path):
    executor(1).submit(Task(write_line, (tmp_path / "lines", "done"), endings.put))
    assert endings.get(timeout=SECONDS) == ProcessExit(0, during_shutdown=False)
    assert (tmp_path / "lines").read_text() == "done\n"


def test_as_many_run_at_once_as_were_asked_for_and_no_more(executor, endings, tmp_path):
    two = executor(2)
    for i in range(4):
        two.submit(Task(meet, (tmp_path, str(i), 2), endings.put))
    for _ in range(4):
        assert endings.get(timeout=SECONDS).exit_code == 0
    assert max(int(file.read_text()) for file in tmp_path.glob("*.seen")) == 2


def test_jobs_start_in_their_order(executor, endings, tmp_path):
    one = executor(1)
    for i in range(3):
        one.submit(Task(write_line, (tmp_path / "lines", str(i)), endings.put))
    for _ in range(3):
        endings.get(timeout=SECONDS)
    assert (tmp_path / "lines").read_text().split() == ["0", "1", "2"]


def test_how_a_process_ended_is_told_and_its_slot_is_free_again(executor, endings):
    jobs: list[tuple[Callable[..., None], tuple, int]] = [
        (sys.exit, (3,), 3),
        (os._exit, (4,), 4),
        (fail, (), 1),
        (kill_itself, (signal.SIGKILL,), -signal.SIGKILL),
        (kill_itself, (signal.SIGTERM,), -signal.SIGTERM),
        (kill_itself, (signal.SIGSEGV,), -signal.SIGSEGV),
        (print, (), 0),
    ]
    one = executor(1)
    for function, arguments, _ in jobs:
        one.submit(Task(function, arguments, endings.put))
    for *_, exit_code in jobs:
        assert endings.get(timeout=SECONDS) == ProcessExit(exit_code, during_shutdown=False)


def test_killed_jobs_leave_no_descriptor(executor, endings):
    one = executor(1)

    def descriptors_after_kills(count: int) -> int:
        for _ in range(count):
            one.submit(Task(kill_itself, (signal.SIGKILL,), endings.put))
        for _ in range(count):
            endings.get(timeout=SECONDS)
        return len(list(Path("/proc/self/fd").iterdir()))

    after_one = descriptors_after_kills(1)
    assert descriptors_after_kills(8) <= after_one


def test_a_job_that_cannot_be_started_is_told_as_one_that_failed(executor, endings):
    one = executor(1)
    one.submit(Task(write_line, (threading.Lock(), "no lock can be sent"), endings.put))
    ending = endings.get(timeout=5)
    assert ending.exit_code != 0
    assert not ending.during_shutdown


def test_ctrl_c_is_the_parents_to_answer(executor, endings, tmp_path):
    executor(1).submit(Task(survive_ctrl_c, (tmp_path / "file",), endings.put))
    assert endings.get(timeout=SECONDS).exit_code == 0
    assert (tmp_path / "file").read_text() == "alive"


def test_closing_ends_what_runs_and_drops_what_waits(executor, endings, lives, tmp_path):
    two = executor(2)
    for _ in range(2):
        two.submit(Task(stay_connected, (port_of(lives),), endings.put))
    for _ in range(3):
        two.submit(Task(write_line, (tmp_path / "lines", "too late"), endings.put))
    connections = [lives.accept()[0] for _ in range(2)]
    two.close()
    assert [endings.get(timeout=0) for _ in range(2)] == [ProcessExit(-signal.SIGTERM, True)] * 2
    assert all(map(has_ended, connections))
    assert endings.empty()
    assert not (tmp_path / "lines").exists()


@pytest.mark.parametrize("delay_seconds", [0.0, 0.05, 0.3])
def test_closing_while_processes_start_leaves_none(executor, endings, lives, delay_seconds):
    one = executor(2)
    for _ in range(4):
        one.submit(Task(stay_connected, (port_of(lives),), endings.put))
    time.sleep(delay_seconds)
    one.close()
    lives.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            assert has_ended(lives.accept()[0])
    while not endings.empty():
        assert endings.get().during_shutdown


def test_a_process_that_does_not_listen_is_killed_after_a_grace(
    executor, endings, lives, monkeypatch
):
    monkeypatch.setattr(processes, "TERMINATION_GRACE_SECONDS", 0.2)
    one = executor(1)
    one.submit(Task(stay_connected_whatever_is_asked, (port_of(lives),), endings.put))
    life, _ = lives.accept()
    one.close()
    assert endings.get(timeout=0) == ProcessExit(-signal.SIGKILL, during_shutdown=True)
    assert has_ended(life)


@pytest.fixture
def stopped_fork_server(executor, endings, monkeypatch) -> Iterator[int]:
    """The process id of what workers are forked from, stopped: it forks none and reports none."""
    monkeypatch.setattr(processes, "TERMINATION_GRACE_SECONDS", 0.2)
    first = executor(1)
    first.submit(Task(print, (), endings.put))
    assert endings.get(timeout=SECONDS).exit_code == 0
    process_id = multiprocessing.forkserver._forkserver._forkserver_pid
    yield process_id
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGCONT)


def test_closing_is_bounded_while_what_workers_are_forked_from_is_stopped(
    executor, endings, lives, stopped_fork_server
):
    one = executor(2)
    one.submit(Task(stay_connected, (port_of(lives),), endings.put))
    life, _ = lives.accept()
    os.kill(stopped_fork_server, signal.SIGSTOP)
    one.submit(Task(stay_connected, (port_of(lives),), endings.put))  # it never starts
    wait_until(lambda: one._starting)
    began = time.monotonic()
    one.close()
    assert time.monotonic() - began < SECONDS
    assert has_ended(life)
    ends = [endings.get(timeout=SECONDS) for _ in range(2)]
    assert all(ending.during_shutdown for ending in ends)
    # The next executor starts another.
    two = executor(1)
    two.submit(Task(print, (), endings.put))
    assert endings.get(timeout=SECONDS) == ProcessExit(0, during_shutdown=False)


def test_an_abort_waits_for_nothing(executor, endings, lives, stopped_fork_server):
    one = executor(1)
    one.submit(Task(stay_connected_whatever_is_asked, (port_of(lives),), endings.put))
    life, _ = lives.accept()
    os.kill(stopped_fork_server, signal.SIGSTOP)
    one.abort()
    assert has_ended(life)


def test_a_slot_goes_on_after_a_job_whose_end_cannot_be_handled(executor, endings, caplog):
    def fail_to_handle(_: ProcessExit) -> None:
        raise RuntimeError("a bug")

    one = executor(1)
    one.submit(Task(print, (), fail_to_handle, should_start=lambda: 1 / 0))
    one.submit(Task(print, (), fail_to_handle))
    one.submit(Task(print, (), endings.put))
    assert endings.get(timeout=SECONDS) == ProcessExit(0, during_shutdown=False)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_a_job_is_known_by_its_name_and_killed_by_it_even_when_it_is_stopped(
    executor, endings, lives
):
    one = executor(1)
    port = port_of(lives)
    one.submit(Task(tell_and_stay, (port,), endings.put, name="runs"))
    one.submit(Task(print, (), endings.put, name="waits"))
    life, _ = lives.accept()
    os.kill(int(life.recv(16)), signal.SIGSTOP)
    one.kill("waits")
    assert [one.has_task(name) for name in ("runs", "waits", "nobody")] == [True, True, False]
    one.kill("runs")
    ends = [endings.get(timeout=SECONDS) for _ in range(2)]
    assert ends == [
        ProcessExit(-signal.SIGKILL, during_shutdown=False),
        ProcessExit(0, during_shutdown=False),
    ]
    assert has_ended(life)
    one.close()
    assert not one.has_task("runs")
    assert not one.has_task("waits")


def test_a_job_that_is_not_wanted_when_its_turn_comes_is_dropped(executor, endings, tmp_path):
    one = executor(1)
    job = Task(
        write_line, (tmp_path / "lines", "unwanted"), endings.put, should_start=lambda: False
    )
    one.submit(job)
    one.submit(Task(write_line, (tmp_path / "lines", "wanted"), endings.put))
    assert endings.get(timeout=SECONDS) == ProcessExit(0, during_shutdown=False)
    one.close()
    assert endings.empty()
    assert (tmp_path / "lines").read_text() == "wanted\n"


def test_a_closed_executor_takes_nothing_and_can_be_closed_again(executor, endings):
    one = executor(1)
    one.close()
    with pytest.raises(RuntimeError):
        one.submit(Task(fail, (), endings.put))
    one.close()
    assert endings.empty()


@pytest.mark.parametrize(
    "job",
    [
        "Task(stay_connected, (int(sys.argv[1]),), print)",
        "Task(print, (SlowToUnpack(int(sys.argv[1])),), print)",
    ],
    ids=["at work", "while it imports"],
)
def test_workers_end_with_a_parent_that_was_killed(lives, job):
    script = (
        "import sys, time\n"
        "from service.jobs import Task, ProcessExecutor\n"
        "from test_jobs_processes import SlowToUnpack, stay_connected\n"
        "executor = ProcessExecutor(2)\n"
        "for _ in range(2):\n"
        f"    executor.submit({job})\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(port_of(lives))],
        env=script_environment(__file__),
    )
    try:
        connections = [lives.accept()[0] for _ in range(2)]
    finally:
        parent.kill()
        parent.wait()
    assert all(map(has_ended, connections))


def test_an_inline_job_that_exits_has_ended_with_that_code(endings):
    EXECUTORS["inline"](1, ()).submit(Task(sys.exit, (75,), endings.put))
    assert endings.get(timeout=0) == ProcessExit(75, during_shutdown=False)


def test_an_inline_job_is_done_before_submit_returns(endings, tmp_path):
    inline = EXECUTORS["inline"](1, ())
    inline.submit(Task(write_line, (tmp_path / "lines", "done"), endings.put))
    assert (tmp_path / "lines").read_text() == "done\n"
    assert endings.get(timeout=0) == ProcessExit(0, during_shutdown=False)
    with pytest.raises(ValueError, match="on purpose"):
        inline.submit(Task(fail, (), endings.put))
    inline.close()
