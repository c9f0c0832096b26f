"""Files of version 4 of the export format, and of schema 0014, which had no recorded runs."""

import gzip
from pathlib import Path

import pytest

from service.core import checkpoints
from service.flows.checkpoints import load_verified_checkpoint
from service.flows.doctor.examination import examine
from service.flows.transfer.exporting import export_run
from service.flows.transfer.importing import import_run
from service.store import epochs, runs, schema
from service.store.store import Store, open_store

DATA = Path(__file__).parent / "data"
TEST_ACCURACY = [0.09427609427609428, 0.09427609427609428]
"""As `camreel` of that version reported it, by epoch."""


@pytest.fixture
def earlier_database(tmp_path: Path) -> Path:
    file = tmp_path / "camreel.db"
    file.write_bytes(gzip.decompress((DATA / "earlier.db.gz").read_bytes()))
    file.chmod(0o600)
    return file


def check_run(store: Store, run_id: int) -> None:
    with store.read_session() as session:
        run = runs.get(session, run_id)
        rows = epochs.list_epochs(session, run_id)
    assert (run.name, run.source, run.status) == ("earlier", "trained", "succeeded")
    assert [row.metrics.test_accuracy for row in rows] == TEST_ACCURACY
    assert [row.metrics.metrics for row in rows] == [None, None]
    for row in rows:
        network, header = checkpoints.decode(load_verified_checkpoint(store, row))
        assert header.epoch == row.epoch
        assert network.last_convolution == "conv2"
    assert examine(store).findings == []


def test_earlier_database_is_upgraded_with_its_runs(earlier_database: Path) -> None:
    with open_store(earlier_database) as store:
        schema.upgrade(store)
        schema.check(store)
        check_run(store, 1)


def test_earlier_export_is_imported(tmp_path: Path) -> None:
    with open_store(tmp_path / "new.db") as store:
        schema.ensure(store)
        run = import_run(store, DATA / "earlier.camreel")
        check_run(store, run.id)
        # And what this version exports of it is imported again.
        export_run(store, run.id, tmp_path / "again.camreel")
        check_run(store, import_run(store, tmp_path / "again.camreel").id)
