"""Many who end a run at once, and deletes in the middle of a picture: one transition, no 500."""

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
from tests.uploads.conftest import Asked

AT_ONCE = 50
ROUNDS = 25


@pytest.fixture
def server(application: Callable[..., Asked], database_url: str) -> Asked:
    return application(database_url=database_url)


@pytest.fixture
def waiting(server: Asked) -> Asked:
    """An application whose runs wait for workers that a test plays."""
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


def test_of_fifty_cancels_of_a_run_that_waits_one_ends_it(waiting: Asked) -> None:
    run_id = waiting.ask("POST", "/runs", json=TINY).json()["id"]
    answers = waiting.ask_at_once([("POST", f"/runs/{run_id}/cancel", {})] * AT_ONCE)
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * (AT_ONCE - 1)
    assert event_statuses(waiting.services.store, run_id) == [RunStatus.QUEUED, RunStatus.CANCELLED]


def test_fifty_cancels_of_a_run_that_trains_are_one_wish(waiting: Asked) -> None:
    store, executor = waiting.services.store, waiting.services.executor
    run_id = waiting.ask("POST", "/runs", json=TINY).json()["id"]
    lease = executor.take(executor.waiting[0])
    answers = waiting.ask_at_once([("POST", f"/runs/{run_id}/cancel", {})] * AT_ONCE)
    assert {answer.status_code for answer in answers} == {202}
    assert event_statuses(store, run_id) == [RunStatus.QUEUED, RunStatus.RUNNING]
    with store.write_session() as session:
        assert run_lifecycle.finish(session, run_id, RunStatus.CANCELLED, lease=lease)
    again = waiting.ask_at_once([("POST", f"/runs/{run_id}/cancel", {})] * AT_ONCE)
    assert {answer.status_code for answer in again} == {409}
    assert event_statuses(store, run_id) == [
        RunStatus.QUEUED,
        RunStatus.RUNNING,
        RunStatus.CANCELLED,
    ]


def test_of_a_cancel_and_the_last_epochs_end_one_is_the_runs(store: Store, tmp_path) -> None:
    for _ in range(ROUNDS):
        with store.write_session() as session:
            run_id = runs.create(session, "", [], {"epochs": 1}, 1).id
            lease = run_lifecycle.claim(session, run_id, "worker")
        together = threading.Barrier(2)

        def end_as_a_worker(run_id=run_id, lease=lease, together=together) -> None:
            together.wait()
            with store.write_session() as session:
                run_lifecycle.finish(session, run_id, RunStatus.SUCCEEDED, lease=lease)

        def cancel(run_id=run_id, together=together) -> bool:
            together.wait()
            try:
                run_flows.cancel_run(store, run_id)
            except RunConflict:
                return False
            return True

        with ThreadPoolExecutor(2) as threads:
            end, wished = threads.submit(end_as_a_worker), threads.submit(cancel)
            end.result()
            wished.result()
        assert status_of(store, run_id) == RunStatus.SUCCEEDED
        assert sum(status in TERMINAL_STATUSES for status in event_statuses(store, run_id)) == 1


def test_a_cancel_a_resume_and_a_delete_at_once_leave_one_of_their_orders(
    store: Store, tmp_path
) -> None:
    spec = RunSpec.model_validate(TINY)
    executor = RecordingExecutor(store)
    workspace = Workspace("", "", tmp_path)
    for _ in range(ROUNDS):
        run_id = run_flows.start_run(store, executor, workspace, spec).id
        together = threading.Barrier(4)

        def at_once(flow, *args, together=together) -> None:
            together.wait()
            try:
                flow(*args)
            except (RunConflict, RunNotFound):
                return

        with ThreadPoolExecutor(4) as threads:
            futures = [
                threads.submit(at_once, run_flows.cancel_run, store, run_id),
                threads.submit(at_once, run_flows.cancel_run, store, run_id),
                threads.submit(at_once, run_flows.extend_run, store, run_id, None),
                threads.submit(at_once, deletion.delete_run, store, run_id),
            ]
            for future in futures:
                future.result()
        with store.read_session() as session:
            assert not runs.list_newest(session, limit=10)


def test_a_run_deleted_while_its_map_is_computed_is_no_error(
    server: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted_id, other_id = (server.ask("POST", "/runs", json=TINY).json()["id"] for _ in range(2))
    compute = MapComputer.compute

    def compute_and_delete(self, *args):
        maps = compute(self, *args)
        deletion.delete_run(self._store, deleted_id)
        return maps

    with monkeypatch.context() as patch:
        patch.setattr(MapComputer, "compute", compute_and_delete)
        answer = server.ask("GET", f"/runs/{deleted_id}/epochs/2/cam?method=layer-cam&image=test:3")
    assert answer.status_code in (200, 404), answer.text
    assert server.ask("GET", f"/runs/{deleted_id}").status_code == 404
    assert server.ask("GET", f"/runs/{other_id}/epochs/2/cam?method=layer-cam").status_code == 200


def test_heatmaps_of_a_run_that_is_being_deleted_are_200_or_404(server: Asked) -> None:
    other_id = server.ask("POST", "/runs", json=TINY | {"seed": 1}).json()["id"]
    for _ in range(2):
        run_id = server.ask("POST", "/runs", json=TINY).json()["id"]
        pictures = [
            ("GET", f"/runs/{i}/epochs/{e}/cam?method=layer-cam&image=test:{30 + n}", {})
            for n in range(4)
            for e in (1, 3)
            for i in (run_id, other_id)
        ]
        answers = server.ask_at_once([*pictures[:8], ("DELETE", f"/runs/{run_id}", {}), *pictures])
        deleted = answers.pop(8)
        assert deleted.status_code == 204
        asked_of = [path.split("/")[2] for _, path, _ in (*pictures[:8], *pictures)]
        for answer, of in zip(answers, asked_of, strict=True):
            assert answer.status_code in ((200,) if of == str(other_id) else (200, 404)), (
                answer.text
            )
