"""Tasks in worker processes, one process each: a crash or a leak affects only that task."""

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess

from service.detached_stream import detach_stderr, drain_stderr
from service.jobs.executor import Devices, ProcessExit, Task, cpu_only
from service.jobs.kernel_kills import oom_kills

TERMINATION_GRACE_SECONDS = 2.0
KILL_SECONDS = 1.0
ENDED_SECONDS = 3.0

log = logging.getLogger(__name__)


def process_context() -> ForkServerContext | SpawnContext:
    """How processes start: forked from a fork server on Linux, elsewhere in a new interpreter."""
    if sys.platform == "linux":
        return multiprocessing.get_context("forkserver")
    # On macOS, system libraries are not fork-safe once they are loaded.
    return multiprocessing.get_context("spawn")


class ProcessExecutor:
    """Runs up to `parallel` tasks at once, each in its own process; the others queue.

    Processes are not forked from this one, whose threads' locks they would inherit, but from a fork
    server: a single-threaded process that has imported the modules `preload`. The imports take
    seconds, a fork milliseconds. It starts with the first task and ends with this process.
    """

    def __init__(
        self, parallel: int, preload: Sequence[str] = (), devices: Devices = cpu_only
    ) -> None:
        self._devices = devices
        if parallel > 1:
            # For processes started from now on: together they have more threads than there are
            # cores, and a thread that waits actively takes a core from the others.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self._context = process_context()
        self._context.set_forkserver_preload(list(preload))
        # One thread per slot: it starts a process, waits for its end, and takes the next task.
        self._parallel = parallel
        self._slots: list[threading.Thread] = []
        self._queue: deque[Task] = deque()
        self._background_queue: deque[Task] = deque()
        self._busy = 0  # slots with a task
        self._condition = threading.Condition()
        # Starting a process polls all others, and an exit code can be read once.
        self._children_lock = threading.Lock()
        self._starting = 0
        self._live: dict[BaseProcess, str] = {}
        self._names: Counter[str] = Counter()  # of all queued and started tasks
        self._started_names: Counter[str] = Counter()
        self._is_closed = False

    def submit(self, task: Task) -> None:
        """Queue a task, which starts when a slot is free. Raises RuntimeError if closed."""
        with self._condition:
            if self._is_closed:
                raise RuntimeError("The executor is closed.")
            if len(self._slots) < min(self._parallel, self._busy + self._queue_length() + 1):
                # A daemon thread: the interpreter must not wait for it at its end.
                slot = threading.Thread(target=self._work_off, name="worker-slot", daemon=True)
                slot.start()
                self._slots.append(slot)
            (self._background_queue if task.in_background else self._queue).append(task)
            self._names[task.name] += 1
            self._condition.notify_all()

    def accepts_tasks(self) -> bool:
        """Whether the executor is open."""
        return not self._is_closed

    def devices(self) -> Sequence[str]:
        """Devices of this machine."""
        return self._devices()

    def has_task(self, name: str) -> bool:
        """Whether a task of that name is queued or running."""
        return self._names[name] > 0

    def has_started(self, name: str) -> bool:
        """Whether a task of that name has left the queue and has not ended."""
        return self._started_names[name] > 0

    def kill(self, name: str) -> None:
        """Send SIGKILL to the processes of that name. It also ends a stopped process."""
        with self._condition:
            for process, task_name in self._live.items():
                if task_name == name:
                    process.kill()

    def close(self) -> None:
        """Terminate running tasks, drop queued ones, and wait for the slots: at most 7 seconds.

        A process that ignores SIGTERM is killed. If that does not help, so is the fork server:
        while it is stopped, no process starts and no exit is reported.
        """
        # Only signals are sent here; the slots' threads wait for the processes. If two threads
        # waited for a process, only one would get its exit code.
        with self._condition:
            self._is_closed = True
            for queue in (self._queue, self._background_queue):
                for task in queue:
                    self._forget(task)
                queue.clear()
            self._condition.notify_all()
            for process in self._live:
                process.terminate()
            if not self._condition.wait_for(self._is_idle, TERMINATION_GRACE_SECONDS):
                self._kill_live()
                if (
                    not self._condition.wait_for(lambda: not self._live, KILL_SECONDS)
                    or self._starting
                ):
                    _kill_fork_server()
                self._condition.wait_for(self._is_idle, KILL_SECONDS)
            # Callbacks at the end of a task may wait for the database.
            self._condition.wait_for(lambda: not self._busy, ENDED_SECONDS)

    def abort(self) -> None:
        """Kill all processes and return, even if a thread of this process holds the lock."""
        is_locked = self._condition.acquire(timeout=KILL_SECONDS)
        try:
            self._is_closed = True
            self._kill_live()
            _kill_fork_server()
        finally:
            if is_locked:
                self._condition.release()

    def _queue_length(self) -> int:
        return len(self._queue) + len(self._background_queue)

    def _is_idle(self) -> bool:
        return not (self._starting or self._live)

    def _kill_live(self) -> None:
        for process in list(self._live):
            process.kill()

    def _work_off(self) -> None:
        while (task := self._next_task()) is not None:
            try:
                if task.should_start():
                    self._run(task)
            except BaseException:  # the thread has no caller, and must take the next task
                log.exception("a task could not be run, or its exit not be handled")
            finally:
                with self._condition:
                    self._busy -= 1
                    self._started_names -= Counter([task.name])
                    self._forget(task)
                    self._condition.notify_all()

    def _next_task(self) -> Task | None:
        """The next task; None when the executor is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._queue_length() or self._is_closed)
            if self._is_closed:
                return None
            self._busy += 1
            task = (self._queue or self._background_queue).popleft()
            self._started_names[task.name] += 1
            return task

    def _forget(self, task: Task) -> None:
        self._names -= Counter([task.name])  # also removes counts of zero

    def _run(self, task: Task) -> None:
        kills_before = oom_kills()
        with self._condition:
            if self._is_closed:
                return
            self._starting += 1
        # Outside the lock: the first process waits for the imports.
        process = self._start_process(task)
        with self._condition:
            self._starting -= 1
            if process:
                self._live[process] = task.name
                if self._is_closed:
                    process.terminate()
            is_shutdown = self._is_closed
            self._condition.notify_all()
        if not process:
            task.on_exit(ProcessExit(1, is_shutdown))
            return
        wait([process.sentinel])
        exit_code = self._exit_code(process)
        with self._condition:
            del self._live[process]
            self._condition.notify_all()
            is_shutdown = self._is_closed
        self._release(process)
        out_of_memory = exit_code == -signal.SIGKILL and oom_kills() != kills_before
        task.on_exit(ProcessExit(exit_code, is_shutdown, out_of_memory))

    def _start_process(self, task: Task) -> BaseProcess | None:
        try:
            # Pickled here and unpickled by `_work`: that may import for seconds, during which the
            # worker must already watch its parent.
            pickled = pickle.dumps((task.function, task.arguments))
            with self._children_lock:
                process = self._context.Process(
                    target=_work, args=(pickled,), name="camreel-worker"
                )
                process.start()
        except Exception:  # arguments that cannot be pickled, or no free memory or process
            if not self._is_closed:
                log.exception("no worker process could be started")
            return None
        return process

    def _exit_code(self, process: BaseProcess) -> int:
        with self._children_lock:
            process.join()
            exit_code = process.exitcode
        assert exit_code is not None  # noqa: S101  it was joined
        return exit_code

    def _release(self, process: BaseProcess) -> None:
        # Close its descriptors before `on_exit` is called.
        with self._children_lock:
            process.close()


def _kill_fork_server() -> None:
    """Kill the fork server, so that threads that wait for it or its forks continue.

    It serves all executors of this process, and is restarted with the next task.
    """
    # There is no public API for it.
    server = forkserver._forkserver  # noqa: SLF001
    process_id: int | None = getattr(server, "_forkserver_pid", None)
    if process_id is None:
        return
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(process_id, signal.SIGKILL)
        # Not reaped: the restart does that.
        os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOWAIT)


def _work(pickled: bytes) -> None:
    # Ctrl-C reaches the whole process group; the parent decides how a run ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Standard error is shared with the service, and may have no reader.
    detach_stderr()
    try:
        function, arguments = pickle.loads(pickled)  # noqa: S301  from the parent process
        function(*arguments)
    except Exception:
        # Printed here: multiprocessing would end the process before the text is written.
        traceback.print_exc()
        sys.exit(1)
    finally:
        drain_stderr()


def _end_with_parent() -> None:
    # A worker must not outlive its service.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
