"""A client that remembers: what it was told once must stay so, whatever is killed."""

import time
from collections.abc import Callable
from typing import Any

from service.store import runs
from service.store.run_status import TERMINAL_STATUSES, RunStatus
from service.store.store import Store
from tests.conftest import Service

LIVE_SECONDS = 60.0
"""While a service lives, no run is `running` for longer without a sign of life."""

PROGRESS_SECONDS = 180.0
"""Far longer than a start, a lost lease and a worker's start take on a busy machine."""

Spec = dict[str, Any]


class Witness:
    """Asks one service, over HTTP; heartbeats alone are read from its store."""

    def __init__(self, service: Service, store: Store) -> None:
        self._service = service
        self._store = store
        self.acknowledged: dict[str, tuple[int, Spec]] = {}
        self._runs: dict[int, dict[str, Any]] = {}
        self._epochs: dict[int, list[dict[str, Any]]] = {}
        self._beats: dict[int, tuple[tuple[int, int], float]] = {}

    def post(self, key: str, spec: Spec) -> int:
        """Start a run, or ask again for the one that the key started; its name is the key."""
        headers = {"Idempotency-Key": key}
        answer = self._service.http.post("/runs", json=spec | {"name": key}, headers=headers)
        assert answer.status_code == 201, answer.text
        run_id = int(answer.json()["id"])
        if key in self.acknowledged:
            assert answer.headers["Idempotent-Replayed"] == "true"
            assert run_id == self.acknowledged[key][0]
        self.acknowledged[key] = (run_id, spec)
        return run_id

    def restarted(self) -> None:
        """The service was started again: leases are watched anew, by the new one's clock."""
        self._beats.clear()

    def look(self, *, again: bool = False) -> None:
        """At all runs and the epochs that are new; with `again`, at every epoch once more."""
        runs_by_id = self._list()
        names = [run["name"] for run in runs_by_id.values()]
        assert len(set(names)) == len(names), f"a request was done twice: {names}"
        for key, (run_id, _) in self.acknowledged.items():
            assert runs_by_id[run_id]["name"] == key
        for run_id, run in runs_by_id.items():
            self._compare(run)
            if again or run["epochs_done"] >= len(self._epochs.get(run_id, [])):
                self._look_at_epochs(run_id, run["epochs_done"])
            self._runs[run_id] = run
        self._look_at_heartbeats()

    def epochs_seen(self) -> int:
        return sum(map(len, self._epochs.values()))

    def unended(self) -> list[int]:
        return [run_id for run_id, run in self._runs.items() if not has_ended(run)]

    def wait(self, condition: Callable[[], bool]) -> None:
        """Look on until it is so; runs must go on meanwhile."""
        last_state, deadline = None, 0.0
        while not condition():
            state = (self.epochs_seen(), len(self.unended()))
            if state != last_state:
                last_state, deadline = state, time.monotonic() + PROGRESS_SECONDS
            waiting = [self._runs[run_id] for run_id in self.unended()]
            assert time.monotonic() < deadline, f"no run goes on: {waiting}"
            time.sleep(0.2)
            self.look()

    def _list(self) -> dict[int, dict[str, Any]]:
        runs_by_id: dict[int, dict[str, Any]] = {}
        query: dict[str, Any] = {"limit": 200}
        while True:
            page = self._service.http.get("/runs", params=query).raise_for_status().json()
            runs_by_id |= {run["id"]: run for run in page["items"]}
            if page["next"] is None:
                return runs_by_id
            query["cursor"] = page["next"]

    def _compare(self, run: dict[str, Any]) -> None:
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

    def _look_at_epochs(self, run_id: int, epochs_done: int) -> None:
        query = {"limit": 200}
        answer = self._service.http.get(f"/runs/{run_id}/epochs", params=query)
        epochs = answer.raise_for_status().json()["items"]
        previous = self._epochs.get(run_id, [])
        # Measures, checkpoint and the moment it was recorded: an epoch trained again has another.
        assert epochs[: len(previous)] == previous
        assert [epoch["epoch"] for epoch in epochs] == list(range(len(epochs)))
        assert len(epochs) > epochs_done
        self._epochs[run_id] = epochs

    def _look_at_heartbeats(self) -> None:
        now_seconds = time.monotonic()
        with self._store.read_session() as session:
            running = runs.list_by_status(session, RunStatus.RUNNING)
        beats = {run.id: (run.attempt, run.heartbeats) for run in running}
        for run_id, beat in beats.items():
            previous = self._beats.get(run_id)
            since = previous[1] if previous and previous[0] == beat else now_seconds
            assert now_seconds - since < LIVE_SECONDS, f"run {run_id} runs without a worker"
            self._beats[run_id] = (beat, since)


def has_ended(run: dict[str, Any]) -> bool:
    return run["status"] in TERMINAL_STATUSES
