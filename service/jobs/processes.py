"""Jobs in worker processes, each freshly spawned: a crash, or a leak, is that job's alone."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import SpawnProcess
from typing import Any

from service.jobs.executor import Ending, Job

TERMINATION_GRACE_SECONDS = 2.0


class ProcessExecutor:
    """Runs up to `parallel` jobs at once, each in a process of its own; the others queue.

    Spawned, not forked: a fork would inherit this process's threads' locks.
    """

    def __init__(self, parallel: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        # A thread a slot: it starts a process, waits for its end, and takes the next job.
        self._slots = ThreadPoolExecutor(parallel, thread_name_prefix="worker-slot")
        self._lock = threading.Lock()
        self._live: set[SpawnProcess] = set()
        self._closed = False

    def submit(self, job: Job) -> None:
        """Take a job; it starts when a slot is free."""
        self._slots.submit(self._run, job)

    def close(self) -> None:
        """Terminate what runs, drop what queues, and wait for the slots."""
        with self._lock:
            self._closed = True
            live = list(self._live)
        for process in live:
            process.terminate()
        for process in live:
            process.join(TERMINATION_GRACE_SECONDS)
            if process.is_alive():
                process.kill()
        self._slots.shutdown(cancel_futures=True)

    def _run(self, job: Job) -> None:
        process = self._context.Process(
            target=_work, args=(job.function, job.arguments), name="camreel-worker"
        )
        with self._lock:
            if self._closed:
                return
            process.start()
            self._live.add(process)
        process.join()
        with self._lock:
            self._live.discard(process)
            stopped = self._closed
        exit_code = process.exitcode if process.exitcode is not None else -signal.SIGKILL
        job.ended(Ending(exit_code, stopped))


def _work(function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    # Ctrl-C reaches the whole group; how a run ends then is the parent's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    function(*arguments)


def _end_with_parent() -> None:
    # A worker whose service was killed must not train on unseen.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
