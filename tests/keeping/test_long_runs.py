"""Pages of a long run are read from rows: the computation does not grow with the epochs."""

import io
import time
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load, save

from service.core import checkpoints
from service.core.cams.maps import CAUSES
from service.core.checkpoints import METADATA_KEY
from service.flows.networks import Networks
from service.report.document import COLUMNS
from tests.keeping.conftest import EPOCHS, StateFolder, train

LAST = 500
SECONDS = 60  # enough for a busy machine; a page usually takes one or two

CLASS_MEAN_EPOCHS = 8  # of the picture of mean maps
COPIED_COLUMNS = {
    "epochs": "train_loss, train_accuracy, test_loss, test_accuracy, per_class_accuracy, "
    "learning_rate, seconds, created_at",
    "heatmaps": "image, class_index, method, layer, peak, minimum, activation_peak, blank, etag, "
    "created_at, levels, height, width",
    "predictions": "image, probabilities",
}


def extend_run(state_folder: StateFolder) -> None:
    """Copies the last epoch's rows and network to all epochs up to LAST."""
    for table, columns in COPIED_COLUMNS.items():
        state_folder.execute(
            f"WITH RECURSIVE numbers(n) AS (SELECT {EPOCHS + 1} UNION ALL SELECT n + 1 FROM numbers"
            f" WHERE n < {LAST}) INSERT INTO {table} (run_id, epoch, {columns})"
            f" SELECT 1, n, {columns} FROM numbers, {table} WHERE epoch = {EPOCHS}"
        )
    data = state_folder.checkpoint_bytes(EPOCHS)
    tensors, header = load(data), checkpoints.read_header(data)
    with state_folder.open_store() as store, store.write_session() as session:
        connection = session.connection()
        for epoch in range(EPOCHS + 1, LAST + 1):
            copy = save(tensors, {METADATA_KEY: replace(header, epoch=epoch).to_json()})
            key = f"long/{epoch}"
            store.blobs.put(session, key, copy)
            connection.exec_driver_sql(
                "INSERT INTO checkpoints (run_id, epoch, sha256, bytes, blob_key)"
                " VALUES (1, ?, ?, ?, ?)",
                (epoch, checkpoints.digest(copy), len(copy), key),
            )
    state_folder.execute(f"UPDATE runs SET epochs_done = {LAST}, epochs_total = {LAST}")


@pytest.fixture(scope="module")
def long_run(tmp_path_factory) -> StateFolder:
    state_folder = StateFolder(tmp_path_factory.mktemp("long"), "sql")
    train(state_folder)
    extend_run(state_folder)
    return state_folder


@pytest.fixture
def loaded_epochs(monkeypatch) -> list[int]:
    """Epochs whose networks were loaded."""
    epochs: list[int] = []
    load = Networks.load

    def load_and_count(self, epoch, spec):
        epochs.append(epoch.epoch)
        return load(self, epoch, spec)

    monkeypatch.setattr(Networks, "load", load_and_count)
    return epochs


@pytest.mark.parametrize(
    ("page", "network_count"),
    [
        ("blanks?epochs=0:", 0),
        ("blanks.csv?epochs=0:", 0),
        ("scores", 0),
        ("epochs.csv", 0),
        ("report.html", COLUMNS + CLASS_MEAN_EPOCHS),
        ("epochs/7/cam?scale=run", 1),
        ("epochs/7/cam?scale=strip", 1),
        ("strip?epochs=1:200", 200),
    ],
)
def test_page_loads_only_the_networks_it_shows(
    long_run, loaded_epochs, page, network_count
) -> None:
    with long_run.client() as client:
        start = time.monotonic()
        response = client.get(f"/runs/1/{page}")
        assert response.status_code == 200, response.text
        assert time.monotonic() - start < SECONDS
    assert len(loaded_epochs) == network_count


def test_blank_maps_of_all_epochs_are_counted_by_cause(long_run) -> None:
    with long_run.client() as client:
        table = client.get("/runs/1/blanks?epochs=0:").json()
    assert [row["epoch"] for row in table["per_epoch"]] == list(range(LAST + 1))
    for method, total in table["methods"].items():
        counts = [row["methods"][method] for row in table["per_epoch"]]
        assert total["total"] == sum(count["total"] for count in counts) == 10 * (LAST + 1)
        assert total["by_cause"] == {
            cause: sum(count["by_cause"][cause] for count in counts) for cause in CAUSES
        }
        assert counts[-1] == counts[EPOCHS]


def test_maps_of_many_epochs_equal_those_of_single_epochs(long_run) -> None:
    with long_run.client() as client:
        strip = np.load(io.BytesIO(client.get("/runs/1/strip.npz?epochs=0:200").content))
    with long_run.client() as client:
        for epoch in (0, 1, 100, 200):
            response = client.get(f"/runs/1/epochs/{epoch}/cam.npy?style=signed")
            np.testing.assert_array_equal(
                np.load(io.BytesIO(response.content)), strip["signed"][epoch]
            )


def test_missing_rows_are_computed_and_counted(long_run, loaded_epochs) -> None:
    with long_run.client() as client:
        expected = client.get("/runs/1/blanks?epochs=1:50").json()
        long_run.execute("DELETE FROM heatmaps WHERE epoch = 7 AND image = 'test:0'")
        long_run.execute("DELETE FROM heatmaps WHERE epoch = 9")
    with long_run.client() as client:
        assert client.get("/runs/1/blanks?epochs=1:50").json() == expected
    assert set(loaded_epochs) <= {7, 9}
    assert loaded_epochs
