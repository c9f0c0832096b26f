"""A resumed run equals an uninterrupted one, or names the epoch from which it may differ."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient

from service.app import create_app
from service.core.spec import RunSpec
from service.errors import InvalidValue, RunConflict
from service.flows import environment
from service.flows import runs as run_flows
from service.flows.environment import reasons_not_reproducible
from service.flows.transfer.exporting import export_run
from service.flows.transfer.importing import import_run
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.settings import Settings
from service.store import epochs, run_lifecycle, runs, training_states
from service.store.run_status import RunStatus
from service.store.runs import Run
from service.store.store import Store

SPEC = RunSpec.model_validate(
    {
        "dataset": "digits",
        "epochs": 2,
        "samples_per_epoch": 100,
        "device": "cpu",
        "architecture": {"channels": [8, 16], "hidden_units": 32},
    }
)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run_of(store: Store, run_id: int) -> Run:
    with store.read_session() as session:
        return runs.get(session, run_id)


def digests(store: Store, run_id: int) -> list[str]:
    """Digests of all checkpoints and of the last optimizer's state."""
    with store.read_session() as session:
        state = training_states.get(session, run_id)
        assert state is not None
        epoch_rows = epochs.list_epochs(session, run_id)
    return [*(epoch.checkpoint.sha256 for epoch in epoch_rows), state.sha256]


def train(store: Store, workspace: Workspace, spec: RunSpec = SPEC) -> int:
    return run_flows.start_run(store, InlineExecutor(), workspace, spec).id


def resume(store: Store, workspace: Workspace, run_id: int, total: int) -> None:
    run_flows.resume_run(store, InlineExecutor(), workspace, run_id, total)


def set_default_threads(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """Makes `threads` the default, as on a machine with that many cores."""
    monkeypatch.setattr(environment, "DEFAULT_THREADS", threads)


def test_thread_count_does_not_depend_on_the_number_of_parallel_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_default_threads(monkeypatch, 2)
    sha256_lists = []
    for parallel in (1, 2):
        folder = tmp_path / str(parallel)
        folder.mkdir()
        settings = Settings(
            _env_file=None, state_dir=folder, executor="inline", max_parallel_runs=parallel,
            min_free_bytes=0,
        )  # fmt: skip
        with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
            run = client.post("/runs", json=SPEC.model_dump(mode="json")).json()
            run = client.get(f"/runs/{run['id']}").json()
            epoch_items = client.get(f"/runs/{run['id']}/epochs").json()["items"]
            sha256_lists.append([epoch["checkpoint"]["sha256"] for epoch in epoch_items])
            assert (run["environment"]["threads"], run["reproducible"]) == (2, True)
            assert run["environment"]["torch"] == torch.__version__
            assert run["irreproducible_reasons"] == []
    assert sha256_lists[0] == sha256_lists[1]


@pytest.mark.parametrize(
    ("threads", "threads_later"), [(1, 2), pytest.param(2, 1, marks=pytest.mark.torture)]
)
def test_resumed_run_keeps_its_thread_count(
    store: Store,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    threads_later: int,
) -> None:
    set_default_threads(monkeypatch, threads)
    uninterrupted = train(store, workspace, SPEC.model_copy(update={"epochs": 4}))
    resumed = train(store, workspace)
    set_default_threads(monkeypatch, threads_later)
    resume(store, workspace, resumed, 4)
    assert digests(store, resumed) == digests(store, uninterrupted)
    run = run_of(store, resumed)
    assert run.environment["threads"] == threads
    assert reasons_not_reproducible(run) == []


@pytest.mark.torture
def test_imported_run_keeps_its_thread_count(
    store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_default_threads(monkeypatch, 2)
    uninterrupted = train(store, workspace, SPEC.model_copy(update={"epochs": 3}))
    export_run(store, train(store, workspace), tmp_path / "run")
    set_default_threads(monkeypatch, 1)
    imported = import_run(store, tmp_path / "run")
    assert imported.environment == run_of(store, uninterrupted).environment
    resume(store, workspace, imported.id, 3)
    assert digests(store, imported.id) == digests(store, uninterrupted)


def test_run_resumed_in_another_environment_names_the_epoch_and_the_difference(
    store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_id = train(store, workspace)
    environment_before = run_of(store, run_id).environment
    monkeypatch.setattr(torch, "__version__", "9.9.9")
    for total in (3, 4):  # the second resume adds no reason
        resume(store, workspace, run_id, total)
        run = run_of(store, run_id)
        assert (run.status, run.epochs_done) == (RunStatus.SUCCEEDED, total)
        assert run.environment == environment_before
        (reason,) = reasons_not_reproducible(run)
        assert reason == f"from epoch 3 on: torch 9.9.9 instead of {environment_before['torch']}"
    export_run(store, run_id, tmp_path / "run")
    assert reasons_not_reproducible(import_run(store, tmp_path / "run")) == [reason]


def test_run_of_an_older_version_is_resumed_and_its_environment_is_unknown(
    store: Store, workspace: Workspace
) -> None:
    run_id = train(store, workspace)
    with store.write_session() as session:
        session.connection().exec_driver_sql("UPDATE runs SET environment = NULL")
    (reason,) = reasons_not_reproducible(run_of(store, run_id))
    assert "not recorded" in reason
    resume(store, workspace, run_id, 3)
    run = run_of(store, run_id)
    assert run.environment is not None
    (reason,) = reasons_not_reproducible(run)
    assert "from epoch 3 on" in reason


def test_queued_run_has_no_environment_and_no_reasons(
    store: Store,
) -> None:
    run, _ = run_flows.create_run(store, InlineExecutor(), SPEC)
    assert run.environment is None
    assert reasons_not_reproducible(run) == []


def test_run_trained_on_a_gpu_is_not_called_reproducible(
    store: Store, workspace: Workspace
) -> None:
    run = run_of(store, train(store, workspace))
    gpu_environment = run.environment | {"device": "a GPU", "deterministic": False}
    run = Run(**vars(run) | {"environment": gpu_environment})
    (reason,) = reasons_not_reproducible(run)
    assert "GPU" in reason


# Devices


def executor_with(*devices: str) -> InlineExecutor:
    return InlineExecutor(lambda: devices)


CUDA = SPEC.model_copy(update={"device": "cuda"})


def test_missing_device_is_refused_with_the_available_ones(store: Store) -> None:
    with pytest.raises(InvalidValue, match="cuda") as refusal:
        run_flows.create_run(store, executor_with("cpu"), CUDA)
    assert refusal.value.field == "device"
    assert refusal.value.allowed == {"enum": ["auto", "cpu"]}
    with store.read_session() as session:
        assert runs.list_newest(session, limit=10) == []


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_available_device_is_accepted(store: Store, device: str) -> None:
    spec = SPEC.model_copy(update={"device": device})
    run, _ = run_flows.create_run(store, executor_with("cpu", "cuda"), spec)
    assert run.status == RunStatus.QUEUED


def test_run_is_not_resumed_without_its_device(store: Store) -> None:
    run, _ = run_flows.create_run(store, executor_with("cpu", "cuda"), CUDA)
    with store.write_session() as session:
        run_lifecycle.finish(
            session, run.id, RunStatus.CANCELLED, from_statuses=(RunStatus.QUEUED,)
        )
    with pytest.raises(RunConflict, match="cuda"):
        run_flows.extend_run(store, run.id, None, executor=executor_with("cpu"))
    assert run_of(store, run.id).status == RunStatus.CANCELLED
    resumed = run_flows.extend_run(store, run.id, None, executor=executor_with("cpu", "cuda"))
    assert resumed.status == RunStatus.QUEUED


def test_device_missing_at_worker_start_fails_the_run(
    store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    executor = executor_with("cpu", "cuda")
    run = run_of(store, run_flows.start_run(store, executor, workspace, CUDA).id)
    assert (run.status, run.error.type) == (RunStatus.FAILED, "device_unavailable")
    assert "cuda" in run.error.detail


def test_api_error_names_the_field_and_the_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    settings = Settings(_env_file=None, state_dir=tmp_path, executor="inline", min_free_bytes=0)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        response = client.post("/runs", json=CUDA.model_dump(mode="json"))
        assert response.status_code == 422, response.text
        (error,) = response.json()["errors"]
        assert (error["field"], error["allowed"]) == ("device", {"enum": ["auto", "cpu"]})
        assert client.get("/runs").json()["items"] == []


def test_every_executor_reports_its_devices() -> None:
    from service.jobs import EXECUTORS

    for executor_type in EXECUTORS.values():
        executor = executor_type(1, (), lambda: ("cpu", "cuda"))
        assert executor.devices() == ("cpu", "cuda")
        executor.close()
