"""A corrupt checkpoint is detected at every load and quarantined; other epochs still work."""

import pickle
import shutil
from pathlib import Path

import pytest

from service.core import checkpoints
from service.core.checkpoints import CheckpointHeader
from service.errors import RunNotFound
from service.flows.checkpoints import Damage, quarantine_epoch
from service.flows.deletion import delete_run
from service.store import epochs
from tests.keeping.conftest import EPOCHS, SPEC, StateFolder

BAD_EPOCH = 2
GOOD_EPOCHS = [epoch for epoch in range(EPOCHS + 1) if epoch != BAD_EPOCH]
REPRESENTATIONS = ["cam", "cam.json", "cam.npy", "checkpoint", "evaluation"]
RANGES = [
    "strip", "strip.webp", "strip.gif", "strip.npz", "sheet", "atlas", "blanks", "blanks.csv",
    "scores", "report.html",
]  # fmt: skip


class Harmful:
    """An object whose unpickling creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return Path.touch, (self.file,)


def flip(state_folder: StateFolder) -> None:
    data = bytearray(state_folder.checkpoint_bytes(BAD_EPOCH))
    data[len(data) // 2] ^= 1
    state_folder.replace_checkpoint(BAD_EPOCH, bytes(data))


def truncate(state_folder: StateFolder) -> None:
    state_folder.replace_checkpoint(BAD_EPOCH, state_folder.checkpoint_bytes(BAD_EPOCH)[:-1])


def empty(state_folder: StateFolder) -> None:
    state_folder.replace_checkpoint(BAD_EPOCH, b"")


def swap(state_folder: StateFolder) -> None:
    state_folder.replace_checkpoint(BAD_EPOCH, state_folder.checkpoint_bytes(1))


def swap_with_its_row(state_folder: StateFolder) -> None:
    # As if two rows were swapped: only the header reveals it.
    state_folder.replace_checkpoint(BAD_EPOCH, state_folder.checkpoint_bytes(1))
    (row,) = state_folder.execute("SELECT sha256, bytes FROM checkpoints WHERE epoch = 1")
    state_folder.execute(
        f"UPDATE checkpoints SET sha256 = :a, bytes = :b WHERE epoch = {BAD_EPOCH}",
        a=row[0],
        b=row[1],
    )


def remove(state_folder: StateFolder) -> None:
    state_folder.replace_checkpoint(BAD_EPOCH, None)


def put_with_row(state_folder: StateFolder, data: bytes) -> None:
    """Replaces the checkpoint with other bytes that match its row."""
    state_folder.replace_checkpoint(BAD_EPOCH, data)
    state_folder.execute(
        f"UPDATE checkpoints SET sha256 = :a, bytes = :b WHERE epoch = {BAD_EPOCH}",
        a=checkpoints.digest(data),
        b=len(data),
    )


def put_pickle(state_folder: StateFolder) -> None:
    put_with_row(state_folder, pickle.dumps(Harmful(state_folder.folder / "created")))


def put_another_architecture(state_folder: StateFolder) -> None:
    spec = SPEC.model_copy(update={"architecture": type(SPEC.architecture)(channels=[1, 1])})
    header = CheckpointHeader.for_epoch(spec, BAD_EPOCH)
    network = header.architecture.build(header.image_shape, len(header.class_names))
    put_with_row(state_folder, checkpoints.encode(network, header))


def put_other_tensors(state_folder: StateFolder) -> None:
    spec = SPEC.model_copy(update={"architecture": type(SPEC.architecture)(channels=[1, 1])})
    header = CheckpointHeader.for_epoch(spec, BAD_EPOCH)
    network = header.architecture.build(header.image_shape, len(header.class_names))
    put_with_row(
        state_folder, checkpoints.encode(network, CheckpointHeader.for_epoch(SPEC, BAD_EPOCH))
    )


DAMAGE = {
    "flipped": (flip, "corrupt"),
    "truncated": (truncate, "truncated"),
    "empty": (empty, "truncated"),
    "swapped": (swap, "corrupt"),
    "swapped-with-its-row": (swap_with_its_row, "swapped"),
    "missing": (remove, "missing"),
    "pickle": (put_pickle, "unreadable"),
    "another-architecture": (put_another_architecture, "swapped"),
    "other-tensors": (put_other_tensors, "unreadable"),
}


def quarantine_reasons(client, run: int = 1) -> dict[int, str | None]:
    items = client.get(f"/runs/{run}/epochs").json()["items"]
    return {item["epoch"]: item["quarantine_reason"] for item in items}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_epoch_is_410_with_its_reason_and_the_others_are_200(state_folder, kind):
    damage, reason = DAMAGE[kind]
    if kind == "swapped" and len(state_folder.checkpoint_bytes(1)) != len(
        state_folder.checkpoint_bytes(BAD_EPOCH)
    ):
        reason = "truncated"
    damage(state_folder)
    with state_folder.client() as client:
        response = client.get(f"/runs/1/epochs/{BAD_EPOCH}/cam")
        assert response.status_code == 410, response.text
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["cache-control"] == "no-store"
        assert "etag" not in response.headers
        assert str(state_folder.folder) not in response.text
        for epoch in GOOD_EPOCHS:
            assert client.get(f"/runs/1/epochs/{epoch}/cam").status_code == 200
        assert quarantine_reasons(client) == dict.fromkeys(GOOD_EPOCHS) | {BAD_EPOCH: reason}
    assert not (state_folder.folder / "created").exists()


@pytest.mark.parametrize("first", REPRESENTATIONS)
def test_all_representations_of_a_damaged_epoch_are_410(state_folder, first):
    flip(state_folder)
    with state_folder.client() as client:
        for kind in (first, *REPRESENTATIONS):
            response = client.get(f"/runs/1/epochs/{BAD_EPOCH}/{kind}")
            assert (response.status_code, response.headers["cache-control"]) == (410, "no-store"), (
                kind
            )
            assert response.json()["type"] == "epoch-quarantined"
        epoch = client.get(f"/runs/1/epochs/{BAD_EPOCH}")
        assert epoch.status_code == 200
        assert (epoch.json()["quarantine_reason"], epoch.json()["test_loss"] > 0) == (
            "corrupt",
            True,
        )


def test_quarantined_epoch_is_not_loaded_again(state_folder, monkeypatch):
    flip(state_folder)
    with state_folder.client() as client:
        assert client.get(f"/runs/1/epochs/{BAD_EPOCH}/cam").status_code == 410
        monkeypatch.setattr(
            client.app.state.services.store.blobs, "get", lambda *_: pytest.fail("read")
        )
        for kind in REPRESENTATIONS:
            assert client.get(f"/runs/1/epochs/{BAD_EPOCH}/{kind}").status_code == 410
    with state_folder.client() as client:  # also after a restart
        assert quarantine_reasons(client)[BAD_EPOCH] == "corrupt"


def test_revalidation_of_a_quarantined_epoch_is_410(state_folder):
    with state_folder.client() as client:
        etag = client.get(f"/runs/1/epochs/{BAD_EPOCH}/cam").headers["etag"]
    flip(state_folder)
    with state_folder.client() as client:
        assert client.get(f"/runs/1/epochs/{BAD_EPOCH}/checkpoint").status_code == 410
        revalidated = client.get(f"/runs/1/epochs/{BAD_EPOCH}/cam", headers={"If-None-Match": etag})
        assert revalidated.status_code == 410


@pytest.mark.parametrize("page", RANGES)
def test_pages_of_many_epochs_omit_a_damaged_epoch_and_list_it(trained, tmp_path, page):
    # The method's maps are not recorded, so the page itself detects the damage.
    shutil.copytree(trained["sql"].folder, tmp_path / "state")
    state_folder = StateFolder(tmp_path / "state", "sql")
    flip(state_folder)
    query = {"epochs": "0:"}
    if page == "scores":
        query |= {"image": "test:40"}
    else:
        query |= {"method": "layer-cam"}
    if page == "atlas":
        query |= {"layer": "conv1"}
    with state_folder.client() as client:
        headers = {"accept": "application/json"} if page == "atlas" else {}
        response = client.get(f"/runs/1/{page}", params=query, headers=headers)
        assert response.status_code == 200, response.text
        assert quarantine_reasons(client)[BAD_EPOCH] == "corrupt"
        if response.headers["content-type"].startswith("application/json"):
            assert response.json()["quarantined_epochs"] == [BAD_EPOCH]
        else:
            assert response.headers["x-cam-quarantined"] == str(BAD_EPOCH)
        alone = client.get(f"/runs/1/{page}", params=query | {"epochs": str(BAD_EPOCH)})
        assert alone.status_code == 410


def test_page_without_damaged_epochs_lists_none(state_folder):
    with state_folder.client() as client:
        response = client.get("/runs/1/strip")
        assert "x-cam-quarantined" not in response.headers
        assert client.get("/runs/1/blanks").json()["quarantined_epochs"] == []


def test_two_damaged_epochs_are_omitted_and_listed(state_folder):
    flip(state_folder)
    state_folder.replace_checkpoint(1, None)
    with state_folder.client() as client:
        response = client.get("/runs/1/strip", params={"epochs": "0:"})
        assert response.headers["x-cam-quarantined"] == f"1,{BAD_EPOCH}"


def test_missing_blob_folder_is_503_and_quarantines_nothing(trained, tmp_path):
    shutil.copytree(trained["file"].folder, tmp_path / "state")
    state_folder = StateFolder(tmp_path / "state", "file")
    (state_folder.folder / "blobs").rename(state_folder.folder / "moved")
    with state_folder.client() as client:
        response = client.get(f"/runs/1/epochs/{BAD_EPOCH}/cam")
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        (state_folder.folder / "moved").rename(state_folder.folder / "blobs")
        assert client.get(f"/runs/1/epochs/{BAD_EPOCH}/cam").status_code == 200
        assert set(quarantine_reasons(client).values()) == {None}


def test_missing_checkpoint_of_a_deleted_run_is_run_not_found(store):
    with store.read_session() as session:
        epoch = epochs.get(session, 1, BAD_EPOCH)
    delete_run(store, 1)
    with pytest.raises(RunNotFound):
        quarantine_epoch(store, epoch, Damage.MISSING)
