"""A run has the bits of the environment that it began in, or says from where on it may not."""

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
from service.store import epochs, run_lifecycle, runs, schema, training_states
from service.store.run_status import RunStatus
from service.store.runs import Run
from service.store.store import Store, open_store

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


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path / 'camreel.db'}") as opened_store:
        schema.ensure(opened_store)
        yield opened_store


@pytest.fixture
def workspace(store: Store, tmp_path: Path) -> Workspace:
    return Workspace(str(store.engine.url), "sql", tmp_path)


def run_of(store: Store, run_id: int) -> Run:
    with store.read_session() as session:
        return runs.get(session, run_id)


def bits(store: Store, run_id: int) -> list[str]:
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


def with_default_threads(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """As on a machine with so many cores."""
    monkeypatch.setattr(environment, "DEFAULT_THREADS", threads)


def test_the_number_of_parallel_runs_does_not_decide_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_default_threads(monkeypatch, 2)
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
            epochs_of = client.get(f"/runs/{run['id']}/epochs").json()["items"]
            sha256_lists.append([epoch["checkpoint"]["sha256"] for epoch in epochs_of])
            assert (run["environment"]["threads"], run["reproducible"]) == (2, True)
            assert run["environment"]["torch"] == torch.__version__
            assert run["irreproducible_reasons"] == []
    assert sha256_lists[0] == sha256_lists[1]


@pytest.mark.parametrize(("first", "then"), [(1, 2), pytest.param(2, 1, marks=pytest.mark.torture)])
def test_a_run_goes_on_with_the_threads_it_began_with(
    store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, first: int, then: int
) -> None:
    with_default_threads(monkeypatch, first)
    uninterrupted = train(store, workspace, SPEC.model_copy(update={"epochs": 4}))
    parted = train(store, workspace)
    with_default_threads(monkeypatch, then)
    resume(store, workspace, parted, 4)
    assert bits(store, parted) == bits(store, uninterrupted)
    run = run_of(store, parted)
    assert run.environment["threads"] == first
    assert reasons_not_reproducible(run) == []


@pytest.mark.torture
def test_an_imported_run_goes_on_with_the_threads_it_began_with(
    store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_default_threads(monkeypatch, 2)
    uninterrupted = train(store, workspace, SPEC.model_copy(update={"epochs": 3}))
    export_run(store, train(store, workspace), tmp_path / "run")
    with_default_threads(monkeypatch, 1)
    imported = import_run(store, tmp_path / "run")
    assert imported.environment == run_of(store, uninterrupted).environment
    resume(store, workspace, imported.id, 3)
    assert bits(store, imported.id) == bits(store, uninterrupted)


def test_a_run_that_goes_on_elsewhere_says_from_which_epoch_on_and_why(
    store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_id = train(store, workspace)
    began_in = run_of(store, run_id).environment
    monkeypatch.setattr(torch, "__version__", "9.9.9")
    for total in (3, 4):  # the second finds nothing new
        resume(store, workspace, run_id, total)
        run = run_of(store, run_id)
        assert (run.status, run.epochs_done) == (RunStatus.SUCCEEDED, total)
        assert run.environment == began_in
        (reason,) = reasons_not_reproducible(run)
        assert reason == f"from epoch 3 on: torch 9.9.9 instead of {began_in['torch']}"
    export_run(store, run_id, tmp_path / "run")
    assert reasons_not_reproducible(import_run(store, tmp_path / "run")) == [reason]


def test_a_run_of_an_older_version_goes_on_and_says_that_its_environment_is_unknown(
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


def test_a_run_that_has_not_begun_has_no_environment_and_nothing_against_it(
    store: Store,
) -> None:
    run, _ = run_flows.create_run(store, InlineExecutor(), SPEC)
    assert run.environment is None
    assert reasons_not_reproducible(run) == []


def test_what_a_gpu_trained_is_not_promised_to_be_reproducible(
    store: Store, workspace: Workspace
) -> None:
    run = run_of(store, train(store, workspace))
    on_gpu = run.environment | {"device": "a GPU", "deterministic": False}
    run = Run(**vars(run) | {"environment": on_gpu})
    (reason,) = reasons_not_reproducible(run)
    assert "GPU" in reason


# Devices.


def executor_with(*devices: str) -> InlineExecutor:
    return InlineExecutor(lambda: devices)


CUDA = SPEC.model_copy(update={"device": "cuda"})


def test_a_device_that_no_worker_has_is_refused_with_those_that_are(store: Store) -> None:
    with pytest.raises(InvalidValue, match="cuda") as refusal:
        run_flows.create_run(store, executor_with("cpu"), CUDA)
    assert refusal.value.field == "device"
    assert refusal.value.allowed == {"enum": ["auto", "cpu"]}
    with store.read_session() as session:
        assert runs.list_newest(session, limit=10) == []


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_a_device_that_a_worker_has_is_taken(store: Store, device: str) -> None:
    spec = SPEC.model_copy(update={"device": device})
    run, _ = run_flows.create_run(store, executor_with("cpu", "cuda"), spec)
    assert run.status == RunStatus.QUEUED


def test_a_run_whose_device_is_gone_is_not_resumed(store: Store) -> None:
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


def test_a_device_that_is_gone_when_the_worker_starts_is_the_runs_error(
    store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    executor = executor_with("cpu", "cuda")
    run = run_of(store, run_flows.start_run(store, executor, workspace, CUDA).id)
    assert (run.status, run.error.type) == (RunStatus.FAILED, "device_unavailable")
    assert "cuda" in run.error.detail


def test_the_api_names_the_field_and_the_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    settings = Settings(_env_file=None, state_dir=tmp_path, executor="inline", min_free_bytes=0)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        answer = client.post("/runs", json=CUDA.model_dump(mode="json"))
        assert answer.status_code == 422, answer.text
        (error,) = answer.json()["errors"]
        assert (error["field"], error["allowed"]) == ("device", {"enum": ["auto", "cpu"]})
        assert client.get("/runs").json()["items"] == []


def test_every_executor_says_which_devices_it_has() -> None:
    from service.jobs import EXECUTORS

    for make in EXECUTORS.values():
        executor = make(1, (), lambda: ("cpu", "cuda"))
        assert executor.devices() == ("cpu", "cuda")
        executor.close()
