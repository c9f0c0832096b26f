"""`camreel serve --workers 2`: two processes answer, one of them dispatches, and ends are repaired.

The tests share one service, in the order of the file; the last one ends it.
"""

import json
import os
import re
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Self

import httpx
import pytest

from service.cli import shutdown
from service.flows.credentials import new_token
from tests.cli.commands import camreel
from tests.conftest import ExecutedService, Service
from tests.faults.tiny import LONG, TINY, statuses
from tests.processes import fork_server_pids, is_alive, process_state, wait_until, worker_pids
from tests.torture import processes

LEASE_SECONDS = 4
TAKEOVER_SECONDS = 3.0
WORKERS = 2
RATE_LIMIT = 100_000


class Workers(ExecutedService):
    """A service of two processes, whose token is known."""

    def __init__(self, folder: Path) -> None:
        self.token = new_token()
        secret = folder / "secret"
        secret.write_text(self.token)
        state_dir = folder / "state"
        state_dir.mkdir()
        super().__init__(
            state_dir,
            {
                "OMP_NUM_THREADS": "1",
                "CAMREEL_WORKERS": str(WORKERS),
                "CAMREEL_LEASE_SECONDS": str(LEASE_SECONDS),
                "CAMREEL_BOOTSTRAP_TOKEN_FILE": str(secret),
                "CAMREEL_RATE_LIMIT": f"{RATE_LIMIT}/minute",
                "CAMREEL_SIGN_IN_LIMIT": "4/minute",
            },
        )

    def connect(self) -> None:
        super().connect()
        self.http.headers["authorization"] = f"Bearer {self.token}"

    def pids(self) -> list[int]:
        return sorted(worker_pids(self.process.pid))

    def leader_pid(self) -> int | None:
        """The process that the database names as elected."""
        with closing(sqlite3.connect(self.state_dir / "camreel.db")) as connection:
            ((owner,),) = connection.execute("SELECT owner FROM leaders").fetchall()
        return int(owner.split(":")[1]) if owner else None

    def views(self) -> tuple["View", "View"]:
        """The service through its leader, and through its other process; both answer."""
        wait_until(lambda: len(self.pids()) == WORKERS and self.leader_pid() in self.pids())
        leader = self.leader_pid()
        assert leader is not None
        (follower,) = (pid for pid in self.pids() if pid != leader)
        return View(self, leader), View(self, follower)

    def client(self, pid: int) -> httpx.Client:
        """A client whose one connection was accepted by that process."""
        client = httpx.Client(
            base_url=self.http.base_url,
            headers=self.http.headers,
            timeout=60,
            trust_env=False,
            limits=httpx.Limits(max_connections=1, keepalive_expiry=None),
        )
        while True:
            # A process that is still starting accepts none yet.
            other_pids = [other_pid for other_pid in self.pids() if other_pid != pid]
            with stopped_processes(other_pids), suppress(httpx.TimeoutException):
                assert client.get("/healthz", timeout=0.5).status_code == 200
                return client
            time.sleep(0.5)


class View(Service):
    """The service through one of its processes."""

    def __init__(self, service: Workers, pid: int) -> None:
        self.pid = pid
        self.http = service.client(pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()


@contextmanager
def stopped_processes(pids: list[int]) -> Iterator[None]:
    """SIGSTOP for the time of the block."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda pid=pid: process_state(pid) == "T")
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    service = Workers(tmp_path_factory.mktemp("workers"))
    service.start()
    try:
        yield service
    finally:
        service.http.close()
        service.kill()


@pytest.fixture
def views(service: Workers) -> Iterator[tuple[View, View]]:
    """The leader, and the other process."""
    pair = service.views()
    yield pair
    for view in pair:
        view.http.close()


@pytest.mark.parametrize("workers", ["0", "65"])
def test_number_of_workers_out_of_bounds_is_refused(tmp_path: Path, workers: str) -> None:
    by_option = camreel(tmp_path, "serve", "--workers", workers)
    by_variable = camreel(tmp_path, "serve", CAMREEL_WORKERS=workers)
    for process in (by_option, by_variable):
        assert process.returncode == 1
        line = "camreel: CAMREEL_WORKERS: must be a whole number from 1 to 64"
        assert process.stderr.startswith(line)


def test_error_before_the_start_is_one_line(tmp_path: Path) -> None:
    process = camreel(tmp_path, "serve", "--workers", "2", "--host", "0.0.0.0", "--port", "0")
    assert process.returncode == 1
    assert len(process.stderr.splitlines()) == 1


def test_both_processes_answer_and_one_is_elected(views: tuple[View, View]) -> None:
    for view in views:
        assert view.http.get("/runs").status_code == 200
        assert view.http.get("/readyz").status_code == 200


def test_run_started_through_either_process_is_trained_once(views: tuple[View, View]) -> None:
    leader, follower = views
    run_ids = [view.post_run(**TINY | {"epochs": 1}) for view in views]
    for run_id in run_ids:
        assert leader.wait(run_id)["status"] == "succeeded"
        for view in views:
            assert statuses(view, run_id) == ["queued", "running", "succeeded"]
        assert follower.run(run_id)["epochs_done"] == 1
    resumed = follower.http.post(f"/runs/{run_ids[0]}/resume", json={"epochs": 2})
    assert resumed.status_code == 202
    assert leader.wait(run_ids[0])["epochs_done"] == 2


def test_queue_and_progress_are_the_same_through_both(views: tuple[View, View]) -> None:
    leader, follower = views
    run_ids = [view.post_run(**LONG) for view in (leader, follower, follower)]
    wait_until(lambda: leader.run(run_ids[0])["progress"]["images_seen"] > 0)
    # Parallel runs are those of the service, not of each process.
    for view in views:
        progress = [view.run(run_id)["progress"] for run_id in run_ids]
        assert [run["queue_position"] for run in progress] == [None, 1, 2]
        assert progress[0]["phase"] == "training"
    with follower.http.stream("GET", f"/events?runs={run_ids[0]}") as response:
        lines = response.iter_lines()
        next(line for line in lines if line == "event: progress")
        leader.http.post(f"/runs/{run_ids[0]}/cancel")
        data = (json.loads(line[6:]) for line in lines if line.startswith("data: "))
        next(event for event in data if event.get("status") == "cancelled")
    for run_id in run_ids[1:]:
        assert follower.http.post(f"/runs/{run_id}/cancel").status_code == 202
    for run_id in run_ids:
        assert leader.wait(run_id)["status"] == "cancelled"


def test_job_of_one_process_is_followed_and_cancelled_through_the_other(
    views: tuple[View, View],
) -> None:
    view, follower = views
    path = "/runs/1/epochs/1/evaluation?images=200"
    response = view.http.get(path, headers={"prefer": "respond-async"})
    assert response.status_code == 202, response.text
    job_path = response.headers["location"]
    job_id = response.json()["id"]
    assert follower.http.get(path, headers={"prefer": "respond-async"}).json()["id"] == job_id
    # Recorded at most once per second by the process that computes it.
    wait_until(lambda: (follower.http.get(job_path).json()["progress"] or 0) > 0)
    with follower.http.stream("GET", f"/events?jobs={job_id}") as stream:
        lines = stream.iter_lines()
        next(line for line in lines if line == "event: job")
        assert view.http.delete(job_path).status_code == 202
        data = (json.loads(line[6:]) for line in lines if line.startswith("data: "))
        assert next(event for event in data if event["status"] != "running")["status"] == (
            "cancelled"
        )


def test_rate_limits_count_requests_through_both(views: tuple[View, View]) -> None:
    remaining = []
    for view in views * 2:
        header = view.http.get("/session").headers["ratelimit"]
        match = re.search(r"r=(\d+)", header)
        assert match is not None
        remaining.append(int(match[1]))
    assert remaining == list(range(remaining[0], remaining[0] - 4, -1))
    attempts = [view.http.post("/session", json={"token": "guess"}) for view in views * 3]
    assert [response.status_code for response in attempts] == [401] * 4 + [429] * 2
    assert int(attempts[-1].headers["retry-after"]) > 0


def metric(view: View, name: str) -> float:
    text = view.http.get("/metrics").raise_for_status().text
    (line,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
    return float(line.split()[-1])


def test_metrics_are_those_of_the_whole_service(views: tuple[View, View]) -> None:
    misses = 'camreel_cache_requests_total{cache="prepared_answers",result="miss"}'
    leader, follower = views
    time.sleep(1.5)  # until both have reported
    initial_misses = metric(leader, misses)
    for view in views:
        for _ in range(10):
            view.http.get("/colormaps")
    wait_until(lambda: metric(leader, misses) - initial_misses >= 20)
    wait_until(lambda: abs(metric(follower, misses) - metric(leader, misses)) <= 2)
    run_id = follower.post_run(**LONG)
    with follower.http.stream("GET", f"/events?runs={run_id}"):
        wait_until(lambda: metric(leader, "camreel_event_streams") == 1)
    wait_until(lambda: metric(leader, "camreel_event_streams") == 0)
    leader.http.post(f"/runs/{run_id}/cancel")
    leader.wait(run_id)


@pytest.mark.parametrize("kills", [1, pytest.param(2, marks=pytest.mark.torture)])
def test_killed_leader_is_replaced_and_its_runs_continue(service: Workers, kills: int) -> None:
    epochs = 10 * kills
    leader, follower = service.views()
    training = follower.post_run(**TINY | {"epochs": epochs, "samples_per_epoch": 1500})
    queued = follower.post_run(**TINY | {"epochs": 1})
    for _ in range(kills):
        follower.wait(training, condition=lambda run: run["status"] == "running")
        os.kill(leader.pid, signal.SIGKILL)
        killed_at = time.monotonic()
        wait_until(lambda follower=follower: service.leader_pid() == follower.pid)
        assert time.monotonic() - killed_at < TAKEOVER_SECONDS
        assert follower.run(queued)["status"] == "queued"
        killed_pid = leader.pid
        wait_until(lambda killed_pid=killed_pid: killed_pid not in service.pids())
        # The process that replaces the killed one is not elected.
        leader, follower = service.views()
        assert leader.pid != killed_pid
    assert follower.wait(training)["epochs_done"] == epochs
    assert follower.wait(queued)["status"] == "succeeded"
    assert statuses(follower, queued) == ["queued", "running", "succeeded"]


def test_processes_are_replaced_after_the_fork_server_is_killed(service: Workers) -> None:
    (fork_server,) = fork_server_pids(service.process.pid)
    old_pids = set(service.pids())
    os.kill(fork_server, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, old_pids)))
    for view in service.views():
        with view:
            assert view.http.get("/runs").status_code == 200


def test_sighup_replaces_all_processes_while_others_answer(service: Workers) -> None:
    old_pids = [view.pid for view in service.views()]
    failures: list[Exception] = []
    is_done = threading.Event()

    def request() -> None:
        url = service.http.base_url
        while not is_done.wait(0.05):
            try:
                # A connection of its own: those of a replaced process end.
                httpx.get(url.join("/healthz"), timeout=30, trust_env=False).raise_for_status()
            except httpx.HTTPError as error:
                failures.append(error)

    client = threading.Thread(target=request)
    client.start()
    service.process.send_signal(signal.SIGHUP)
    try:
        wait_until(
            lambda: len(service.pids()) == WORKERS and not set(service.pids()) & set(old_pids)
        )
    finally:
        is_done.set()
        client.join()
    assert len(failures) <= 1, failures  # accepted by a process that has just begun to end
    wait_until(lambda: service.leader_pid() in service.pids())


def test_sigterm_ends_all_processes_in_time(service: Workers) -> None:
    leader, follower = service.views()
    run_id = follower.post_run(**LONG)
    leader.wait(run_id, condition=lambda run: run["status"] == "running")
    pids = processes.list_pids(service.state_dir)
    assert len(pids) > 1 + WORKERS
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(shutdown.SHUTDOWN_SECONDS + 15) == -signal.SIGTERM
    processes.wait_for_end(service.state_dir, pids)
    with closing(sqlite3.connect(service.state_dir / "camreel.db")) as connection:
        assert connection.execute("SELECT owner FROM leaders").fetchall() == [(None,)]
        query = "SELECT status, dispatcher FROM runs WHERE id = ?"
        assert connection.execute(query, (run_id,)).fetchall() == [("queued", None)]


@pytest.mark.torture
def test_processes_end_with_a_killed_supervisor(tmp_path: Path) -> None:
    service = Workers(tmp_path)
    service.start()
    pids = processes.list_pids(service.state_dir)
    service.http.close()
    service.kill()
    processes.wait_for_end(service.state_dir, pids)


@pytest.mark.torture
def test_stopped_process_does_not_delay_the_end(tmp_path: Path) -> None:
    service = Workers(tmp_path)
    service.start()
    pids = processes.list_pids(service.state_dir)
    with stopped_processes(service.pids()[:1]):
        assert service.stop() == -signal.SIGTERM
        processes.wait_for_end(service.state_dir, pids)
