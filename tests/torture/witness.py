"""A client that compares later responses of a service with earlier ones, whatever is killed."""

import time
from collections.abc import Callable
from typing import Any

from service.store import runs
from service.store.run_status import TERMINAL_STATUSES, RunStatus
from service.store.store import Store
from tests.conftest import Service

HEARTBEAT_SECONDS = 60.0
"""While the service runs, no run is `running` for longer without a heartbeat."""

PROGRESS_SECONDS = 180.0
"""Far longer than a service's start, a lost lease and a worker's start on a busy machine."""

Spec = dict[str, Any]


class Witness:
    """Observes a service over HTTP, and heartbeats in its store."""

    def __init__(self, service: Service, store: Store) -> None:
        self._service = service
        self._store = store
        self.acknowledged: dict[str, tuple[int, Spec]] = {}
        self._runs: dict[int, dict[str, Any]] = {}
        self._epochs: dict[int, list[dict[str, Any]]] = {}
        self._heartbeats: dict[int, tuple[tuple[int, int], float]] = {}

    def post(self, key: str, spec: Spec) -> int:
        """Create a run named after the key, or repeat the request that created it."""
        headers = {"Idempotency-Key": key}
        response = self._service.http.post("/runs", json=spec | {"name": key}, headers=headers)
        assert response.status_code == 201, response.text
        run_id = int(response.json()["id"])
        if key in self.acknowledged:
            assert response.headers["Idempotent-Replayed"] == "true"
            assert run_id == self.acknowledged[key][0]
        self.acknowledged[key] = (run_id, spec)
        return run_id

    def forget_heartbeats(self) -> None:
        """For a restarted service, which observes all leases from its start on."""
        self._heartbeats.clear()

    def observe(self, *, all_epochs: bool = False) -> None:
        """Check all runs and their new epochs, or with `all_epochs` every epoch again."""
        runs_by_id = self._list()
        names = [run["name"] for run in runs_by_id.values()]
        assert len(set(names)) == len(names), f"a request created two runs: {names}"
        for key, (run_id, _) in self.acknowledged.items():
            assert runs_by_id[run_id]["name"] == key
        for run_id, run in runs_by_id.items():
            self._check_run(run)
            if all_epochs or run["epochs_done"] >= len(self._epochs.get(run_id, [])):
                self._check_epochs(run_id, run["epochs_done"])
            self._runs[run_id] = run
        self._check_heartbeats()

    def count_epochs(self) -> int:
        return sum(map(len, self._epochs.values()))

    def list_active(self) -> list[int]:
        return [run_id for run_id, run in self._runs.items() if not has_ended(run)]

    def wait(self, condition: Callable[[], bool]) -> None:
        """Observe until the condition holds; fails if runs make no progress."""
        last_state, deadline = None, 0.0
        while not condition():
            state = (self.count_epochs(), len(self.list_active()))
            if state != last_state:
                last_state, deadline = state, time.monotonic() + PROGRESS_SECONDS
            active_runs = [self._runs[run_id] for run_id in self.list_active()]
            assert time.monotonic() < deadline, f"no progress: {active_runs}"
            time.sleep(0.2)
            self.observe()

    def _list(self) -> dict[int, dict[str, Any]]:
        runs_by_id: dict[int, dict[str, Any]] = {}
        query: dict[str, Any] = {"limit": 200}
        while True:
            page = self._service.http.get("/runs", params=query).raise_for_status().json()
            runs_by_id |= {run["id"]: run for run in page["items"]}
            if page["next"] is None:
                return runs_by_id
            query["cursor"] = page["next"]

    def _check_run(self, run: dict[str, Any]) -> None:
        assert run["status"] in ("queued", "running", "succeeded"), run
        previous = self._runs.get(run["id"])
        if previous is None:
            return
        assert run["epochs_done"] >= previous["epochs_done"], (previous, run)
        for name in ("name", "spec", "created_at"):
            assert run[name] == previous[name]
        if previous["started_at"] is not None:
            assert run["started_at"] == previous["started_at"]
        if has_ended(previous):
            assert run == previous

    def _check_epochs(self, run_id: int, epochs_done: int) -> None:
        query = {"limit": 200}
        response = self._service.http.get(f"/runs/{run_id}/epochs", params=query)
        epochs = response.raise_for_status().json()["items"]
        previous = self._epochs.get(run_id, [])
        # Metrics, checkpoint and time of recording: an epoch trained twice has another time.
        assert epochs[: len(previous)] == previous
        assert [epoch["epoch"] for epoch in epochs] == list(range(len(epochs)))
        assert len(epochs) > epochs_done
        self._epochs[run_id] = epochs

    def _check_heartbeats(self) -> None:
        now_seconds = time.monotonic()
        with self._store.read_session() as session:
            running = runs.list_by_status(session, RunStatus.RUNNING)
        heartbeats = {run.id: (run.attempt, run.heartbeats) for run in running}
        for run_id, heartbeat in heartbeats.items():
            previous = self._heartbeats.get(run_id)
            changed_at = previous[1] if previous and previous[0] == heartbeat else now_seconds
            assert now_seconds - changed_at < HEARTBEAT_SECONDS, (
                f"run {run_id} runs without a worker"
            )
            self._heartbeats[run_id] = (heartbeat, changed_at)


def has_ended(run: dict[str, Any]) -> bool:
    return run["status"] in TERMINAL_STATUSES
