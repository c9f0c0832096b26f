"""Training states of earlier epochs are kept as the spec asks, counted, exported and deleted."""

import shutil

import pytest

from service.core.checkpoints import CheckpointHeader, digest, encode
from service.core.training import train as train_core
from service.core.training_state import TrainingState, encode_optimizer
from service.flows.deletion import DeletedRunCleaner, delete_run
from service.flows.doctor.checks import CHECKS
from service.flows.runs import resume_run
from service.flows.transfer.exporting import export_run
from service.flows.transfer.importing import import_run
from service.jobs.inline import InlineExecutor
from service.store import disk_space, epochs, training_states
from service.store.store import Store
from tests.keeping.conftest import EPOCHS, SPEC, StateFolder, train
from tests.keeping.transfers import refuse_import, with_manifest


@pytest.fixture(params=["file", pytest.param("sql", marks=pytest.mark.torture)])
def blob_type(request) -> str:
    return request.param


def kept_epochs(store: Store, run_id: int) -> list[int]:
    with store.read_session() as session:
        return [state.epoch for state in training_states.list_states(session, run_id)]


def state_blobs(store: Store, run_id: int) -> dict[int, bytes]:
    """The training states of a run by epoch, each verified."""
    blobs = {}
    with store.read_session() as session:
        for state in training_states.list_states(session, run_id):
            blobs[state.epoch] = store.blobs.get(session, state.blob_key)
            assert digest(blobs[state.epoch]) == state.sha256
    return blobs


@pytest.mark.parametrize(
    ("policy", "expected"), [("last", [3]), ("every:2", [0, 2, 3]), ("all", [0, 1, 2, 3])]
)
def test_states_of_the_policys_epochs_are_kept_beside_the_last(state_folder, policy, expected):
    run_id = train(state_folder, SPEC.model_copy(update={"keep_states": policy}))
    with state_folder.open_store() as store:
        assert kept_epochs(store, run_id) == expected
        with store.read_session() as session:
            names = [blob.name for blob in store.blobs.list_blobs(session)]
        assert sum(name.startswith(f"runs/{run_id}/states/") for name in names) == len(expected)
        findings = [finding for check in CHECKS.values() for finding in check(store)]
        assert findings == []


def test_resumed_run_keeps_the_states_of_its_policy(state_folder):
    run_id = train(state_folder, SPEC.model_copy(update={"keep_states": "every:4"}))
    with state_folder.open_store() as store:
        assert kept_epochs(store, run_id) == [0, 3]
        resume_run(store, InlineExecutor(), state_folder.workspace, run_id, EPOCHS + 3)
        assert kept_epochs(store, run_id) == [0, 4, 6]


def test_training_continues_bit_for_bit_from_a_kept_state(state_folder):
    spec = SPEC.model_copy(update={"keep_states": "all"})
    run_id = train(state_folder, spec)
    with state_folder.open_store() as store:
        states = state_blobs(store, run_id)
    network = state_folder.checkpoint_bytes(1, run_id)
    data = spec.source.load(state_folder.folder, False)
    results = train_core(spec, data, resume_from=TrainingState(1, network, states[1]))
    for epoch, result in enumerate(results, start=2):
        header = CheckpointHeader.for_epoch(spec, epoch)
        assert encode(result.network, header) == state_folder.checkpoint_bytes(epoch, run_id)
        assert encode_optimizer(result.optimizer, epoch) == states[epoch]


def test_kept_states_move_with_an_exported_run(state_folder, empty_state_folder, tmp_path):
    run_id = train(state_folder, SPEC.model_copy(update={"keep_states": "every:2"}))
    with state_folder.open_store() as store:
        export_run(store, run_id, tmp_path / "run.camreel")
        original = state_blobs(store, run_id)
    assert list(original) == [0, 2, 3]
    with empty_state_folder.open_store() as store:
        imported_id = import_run(store, tmp_path / "run.camreel").id
        assert state_blobs(store, imported_id) == original
        resume_run(store, InlineExecutor(), empty_state_folder.workspace, imported_id, EPOCHS + 2)
        assert kept_epochs(store, imported_id) == [0, 2, 4, 5]


@pytest.mark.parametrize(
    ("epochs_of_states", "text"),
    [([0, 3], "earlier training states"), ([2, 2], "earlier training states"),
     ([2, 0], "earlier training states"), ([0, 1], "does not fit"), ([-1, 2], "earlier_states")],
    ids=str,
)  # fmt: skip
def test_archive_whose_states_are_of_other_epochs_is_refused(
    trained, empty_state_folder, tmp_path, epochs_of_states, text
):
    def relabel(manifest):
        for exported, epoch in zip(manifest["earlier_states"], epochs_of_states, strict=True):
            exported["epoch"] = epoch

    state_folder = StateFolder(tmp_path / "original", "sql")
    shutil.copytree(trained["sql"].folder, state_folder.folder)
    run_id = train(state_folder, SPEC.model_copy(update={"keep_states": "every:2"}))
    with state_folder.open_store() as store:
        export_run(store, run_id, tmp_path / "run.camreel")
    file = with_manifest(tmp_path / "run.camreel", tmp_path / "changed.camreel", relabel)
    assert text in refuse_import(file, empty_state_folder)


def test_kept_states_count_into_the_quota_and_are_freed_with_their_run(state_folder):
    with state_folder.open_store() as store:
        with store.read_session() as session:
            initial_bytes = store.quota.used_bytes(session)
        run_id = train(state_folder, SPEC.model_copy(update={"keep_states": "all"}))
        with store.read_session() as session:
            checkpoints = [e.checkpoint.bytes for e in epochs.list_epochs(session, run_id)]
            states = [state.bytes for state in training_states.list_states(session, run_id)]
            used_bytes = store.quota.used_bytes(session)
        assert len(states) == len(checkpoints) == EPOCHS + 1
        assert used_bytes >= initial_bytes + sum(checkpoints) + sum(states)
        delete_run(store, run_id)
        DeletedRunCleaner(store).free_space()
        disk_space.incremental_vacuum(store.engine, 10_000)
        with store.read_session() as session:
            names = [blob.name for blob in store.blobs.list_blobs(session)]
        assert not any(name.startswith(f"runs/{run_id}/") for name in names)
