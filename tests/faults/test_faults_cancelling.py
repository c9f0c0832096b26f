"""Simultaneous cancels, ends and deletes of a run: one transition, and never 500."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from service.core.spec import RunSpec
from service.errors import RunConflict, RunNotFound
from service.flows import deletion
from service.flows import runs as run_flows
from service.flows.maps.compute import MapComputer
from service.flows.workspace import Workspace
from service.store import events, run_lifecycle, runs
from service.store.run_status import TERMINAL_STATUSES, RunStatus
from service.store.store import Store
from tests.faults.recording_executor import RecordingExecutor
from tests.faults.tiny import TINY
from tests.uploads.conftest import Application

CLIENTS = 50
ROUNDS = 25


@pytest.fixture
def server(new_application: Callable[..., Application], database_url: str) -> Application:
    return new_application(database_url=database_url)


@pytest.fixture
def idle_server(server: Application) -> Application:
    """An application whose workers are simulated by tests."""
    executor = RecordingExecutor(server.services.store)
    server.app.state.services = replace(server.services, executor=executor)
    return server


def event_statuses(store: Store, run_id: int) -> list[str]:
    with store.read_session() as session:
        rows = events.list_after(session, run_id, 0)
    return [event.data["status"] for event in rows if event.type == events.STATUS]


def status_of(store: Store, run_id: int) -> str:
    with store.read_session() as session:
        return runs.get(session, run_id).status


def test_one_of_fifty_cancels_ends_a_queued_run(idle_server: Application) -> None:
    run_id = idle_server.request("POST", "/runs", json=TINY).json()["id"]
    responses = idle_server.request_concurrently([("POST", f"/runs/{run_id}/cancel", {})] * CLIENTS)
    assert sorted(response.status_code for response in responses) == [202] + [409] * (CLIENTS - 1)
    assert event_statuses(idle_server.services.store, run_id) == [
        RunStatus.QUEUED,
        RunStatus.CANCELLED,
    ]


def test_fifty_cancels_of_a_running_run_are_accepted(idle_server: Application) -> None:
    store, executor = idle_server.services.store, idle_server.services.executor
    run_id = idle_server.request("POST", "/runs", json=TINY).json()["id"]
    lease = executor.take(executor.waiting[0])
    responses = idle_server.request_concurrently([("POST", f"/runs/{run_id}/cancel", {})] * CLIENTS)
    assert {response.status_code for response in responses} == {202}
    assert event_statuses(store, run_id) == [RunStatus.QUEUED, RunStatus.RUNNING]
    with store.write_session() as session:
        assert run_lifecycle.finish(session, run_id, RunStatus.CANCELLED, lease=lease)
    second_responses = idle_server.request_concurrently(
        [("POST", f"/runs/{run_id}/cancel", {})] * CLIENTS
    )
    assert {response.status_code for response in second_responses} == {409}
    assert event_statuses(store, run_id) == [
        RunStatus.QUEUED,
        RunStatus.RUNNING,
        RunStatus.CANCELLED,
    ]


def test_either_a_cancel_or_the_end_of_training_is_recorded(store: Store, tmp_path) -> None:
    for _ in range(ROUNDS):
        with store.write_session() as session:
            run_id = runs.create(session, "", [], {"epochs": 1}, 1).id
            lease = run_lifecycle.claim(session, run_id, "worker")
        barrier = threading.Barrier(2)

        def end_as_a_worker(run_id=run_id, lease=lease, barrier=barrier) -> None:
            barrier.wait()
            with store.write_session() as session:
                run_lifecycle.finish(session, run_id, RunStatus.SUCCEEDED, lease=lease)

        def cancel(run_id=run_id, barrier=barrier) -> bool:
            barrier.wait()
            try:
                run_flows.cancel_run(store, run_id)
            except RunConflict:
                return False
            return True

        with ThreadPoolExecutor(2) as threads:
            end, cancellation = threads.submit(end_as_a_worker), threads.submit(cancel)
            end.result()
            cancellation.result()
        assert status_of(store, run_id) == RunStatus.SUCCEEDED
        assert sum(status in TERMINAL_STATUSES for status in event_statuses(store, run_id)) == 1


def test_simultaneous_cancel_resume_and_delete_are_serialized(store: Store, tmp_path) -> None:
    spec = RunSpec.model_validate(TINY)
    executor = RecordingExecutor(store)
    workspace = Workspace("", "", tmp_path)
    for _ in range(ROUNDS):
        run_id = run_flows.start_run(store, executor, workspace, spec).id
        barrier = threading.Barrier(4)

        def call_after_barrier(flow, *args, barrier=barrier) -> None:
            barrier.wait()
            try:
                flow(*args)
            except (RunConflict, RunNotFound):
                return

        with ThreadPoolExecutor(4) as threads:
            futures = [
                threads.submit(call_after_barrier, run_flows.cancel_run, store, run_id),
                threads.submit(call_after_barrier, run_flows.cancel_run, store, run_id),
                threads.submit(call_after_barrier, run_flows.extend_run, store, run_id, None),
                threads.submit(call_after_barrier, deletion.delete_run, store, run_id),
            ]
            for future in futures:
                future.result()
        with store.read_session() as session:
            assert not runs.list_newest(session, limit=10)


def test_deleting_a_run_while_its_map_is_computed_is_200_or_404(
    server: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted_id, other_id = (
        server.request("POST", "/runs", json=TINY).json()["id"] for _ in range(2)
    )
    compute = MapComputer.compute

    def compute_and_delete(self, *args):
        maps = compute(self, *args)
        deletion.delete_run(self._loader.store, deleted_id)
        return maps

    with monkeypatch.context() as patch:
        patch.setattr(MapComputer, "compute", compute_and_delete)
        response = server.request(
            "GET", f"/runs/{deleted_id}/epochs/2/cam?method=layer-cam&image=test:3"
        )
    assert response.status_code in (200, 404), response.text
    assert server.request("GET", f"/runs/{deleted_id}").status_code == 404
    assert (
        server.request("GET", f"/runs/{other_id}/epochs/2/cam?method=layer-cam").status_code == 200
    )


def test_heatmaps_of_a_run_that_is_being_deleted_are_200_or_404(server: Application) -> None:
    other_id = server.request("POST", "/runs", json=TINY | {"seed": 1}).json()["id"]
    for _ in range(2):
        run_id = server.request("POST", "/runs", json=TINY).json()["id"]
        pictures = [
            ("GET", f"/runs/{i}/epochs/{e}/cam?method=layer-cam&image=test:{30 + n}", {})
            for n in range(4)
            for e in (1, 3)
            for i in (run_id, other_id)
        ]
        responses = server.request_concurrently(
            [*pictures[:8], ("DELETE", f"/runs/{run_id}", {}), *pictures]
        )
        deleted = responses.pop(8)
        assert deleted.status_code == 204
        requested_ids = [path.split("/")[2] for _, path, _ in (*pictures[:8], *pictures)]
        for response, requested_id in zip(responses, requested_ids, strict=True):
            assert response.status_code in (
                (200,) if requested_id == str(other_id) else (200, 404)
            ), response.text
