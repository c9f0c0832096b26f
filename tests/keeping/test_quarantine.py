"""A bad checkpoint is told from a good one at every load, set aside, and the rest goes on."""

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

BAD = 2
OTHERS = [epoch for epoch in range(EPOCHS + 1) if epoch != BAD]
REPRESENTATIONS = ["cam", "cam.json", "cam.npy", "checkpoint", "evaluation"]
RANGES = [
    "strip", "strip.webp", "strip.gif", "strip.npz", "sheet", "atlas", "blanks", "blanks.csv",
    "scores", "report.html",
]  # fmt: skip


class Harmful:
    """What a pickle could do to whoever reads it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return Path.touch, (self.file,)


def flip(state_folder: StateFolder) -> None:
    data = bytearray(state_folder.bytes_of(BAD))
    data[len(data) // 2] ^= 1
    state_folder.replace_checkpoint(BAD, bytes(data))


def truncate(state_folder: StateFolder) -> None:
    state_folder.replace_checkpoint(BAD, state_folder.bytes_of(BAD)[:-1])


def empty(state_folder: StateFolder) -> None:
    state_folder.replace_checkpoint(BAD, b"")


def swap(state_folder: StateFolder) -> None:
    state_folder.replace_checkpoint(BAD, state_folder.bytes_of(1))


def swap_with_its_row(state_folder: StateFolder) -> None:
    # As if two rows had changed places: only the header knows.
    state_folder.replace_checkpoint(BAD, state_folder.bytes_of(1))
    (row,) = state_folder.execute("SELECT sha256, bytes FROM checkpoints WHERE epoch = 1")
    state_folder.execute(
        f"UPDATE checkpoints SET sha256 = :a, bytes = :b WHERE epoch = {BAD}", a=row[0], b=row[1]
    )


def take_away(state_folder: StateFolder) -> None:
    state_folder.replace_checkpoint(BAD, None)


def put_as_written(state_folder: StateFolder, data: bytes) -> None:
    """Bytes that are what their row says, and yet no checkpoint."""
    state_folder.replace_checkpoint(BAD, data)
    state_folder.execute(
        f"UPDATE checkpoints SET sha256 = :a, bytes = :b WHERE epoch = {BAD}",
        a=checkpoints.digest(data),
        b=len(data),
    )


def put_a_pickle(state_folder: StateFolder) -> None:
    put_as_written(state_folder, pickle.dumps(Harmful(state_folder.folder / "touched")))


def put_another_architecture(state_folder: StateFolder) -> None:
    spec = SPEC.model_copy(update={"architecture": type(SPEC.architecture)(channels=[1, 1])})
    header = CheckpointHeader.for_epoch(spec, BAD)
    network = header.architecture.build(header.image_shape, len(header.class_names))
    put_as_written(state_folder, checkpoints.encode(network, header))


def put_tensors_that_do_not_fit(state_folder: StateFolder) -> None:
    spec = SPEC.model_copy(update={"architecture": type(SPEC.architecture)(channels=[1, 1])})
    header = CheckpointHeader.for_epoch(spec, BAD)
    network = header.architecture.build(header.image_shape, len(header.class_names))
    put_as_written(state_folder, checkpoints.encode(network, CheckpointHeader.for_epoch(SPEC, BAD)))


HARM = {
    "flipped": (flip, "corrupt"),
    "truncated": (truncate, "truncated"),
    "empty": (empty, "truncated"),
    "swapped": (swap, "corrupt"),
    "swapped-with-its-row": (swap_with_its_row, "swapped"),
    "missing": (take_away, "missing"),
    "pickle": (put_a_pickle, "unreadable"),
    "another-architecture": (put_another_architecture, "swapped"),
    "other-tensors": (put_tensors_that_do_not_fit, "unreadable"),
}


def told(client, run: int = 1) -> dict[int, str | None]:
    items = client.get(f"/runs/{run}/epochs").json()["items"]
    return {item["epoch"]: item["quarantine_reason"] for item in items}


@pytest.mark.parametrize("harm", HARM)
def test_the_epoch_is_410_and_told_and_the_others_are_200(state_folder, harm):
    do, reason = HARM[harm]
    if harm == "swapped" and len(state_folder.bytes_of(1)) != len(state_folder.bytes_of(BAD)):
        reason = "truncated"
    do(state_folder)
    with state_folder.client() as client:
        answer = client.get(f"/runs/1/epochs/{BAD}/cam")
        assert answer.status_code == 410, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["cache-control"] == "no-store"
        assert "etag" not in answer.headers
        assert str(state_folder.folder) not in answer.text
        for epoch in OTHERS:
            assert client.get(f"/runs/1/epochs/{epoch}/cam").status_code == 200
        assert told(client) == dict.fromkeys(OTHERS) | {BAD: reason}
    assert not (state_folder.folder / "touched").exists()


@pytest.mark.parametrize("first", REPRESENTATIONS)
def test_whichever_representation_finds_it_all_of_them_are_410(state_folder, first):
    flip(state_folder)
    with state_folder.client() as client:
        for kind in (first, *REPRESENTATIONS):
            answer = client.get(f"/runs/1/epochs/{BAD}/{kind}")
            assert (answer.status_code, answer.headers["cache-control"]) == (410, "no-store"), kind
            assert answer.json()["type"] == "epoch-quarantined"
        one = client.get(f"/runs/1/epochs/{BAD}")
        assert one.status_code == 200
        assert (one.json()["quarantine_reason"], one.json()["test_loss"] > 0) == ("corrupt", True)


def test_a_quarantined_epoch_is_not_read_again(state_folder, monkeypatch):
    flip(state_folder)
    with state_folder.client() as client:
        assert client.get(f"/runs/1/epochs/{BAD}/cam").status_code == 410
        monkeypatch.setattr(
            client.app.state.services.store.blobs, "get", lambda *_: pytest.fail("read")
        )
        for kind in REPRESENTATIONS:
            assert client.get(f"/runs/1/epochs/{BAD}/{kind}").status_code == 410
    with state_folder.client() as client:  # nor by a service that starts later
        assert told(client)[BAD] == "corrupt"


def test_a_client_that_has_the_picture_is_told_too(state_folder):
    with state_folder.client() as client:
        etag = client.get(f"/runs/1/epochs/{BAD}/cam").headers["etag"]
    flip(state_folder)
    with state_folder.client() as client:
        assert client.get(f"/runs/1/epochs/{BAD}/checkpoint").status_code == 410
        again = client.get(f"/runs/1/epochs/{BAD}/cam", headers={"If-None-Match": etag})
        assert again.status_code == 410


@pytest.mark.parametrize("page", RANGES)
def test_pages_of_many_epochs_go_on_without_it_and_say_so(trained, tmp_path, page):
    # By a method that was not recorded: the page itself finds the bad one.
    shutil.copytree(trained["sql"].folder, tmp_path / "state")
    state_folder = StateFolder(tmp_path / "state", "sql")
    flip(state_folder)
    asked = {"epochs": "0:"}
    if page == "scores":
        asked |= {"image": "test:40"}
    else:
        asked |= {"method": "layer-cam"}
    if page == "atlas":
        asked |= {"layer": "conv1"}
    with state_folder.client() as client:
        headers = {"accept": "application/json"} if page == "atlas" else {}
        answer = client.get(f"/runs/1/{page}", params=asked, headers=headers)
        assert answer.status_code == 200, answer.text
        assert told(client)[BAD] == "corrupt"
        if answer.headers["content-type"].startswith("application/json"):
            assert answer.json()["quarantined_epochs"] == [BAD]
        else:
            assert answer.headers["x-cam-quarantined"] == str(BAD)
        alone = client.get(f"/runs/1/{page}", params=asked | {"epochs": str(BAD)})
        assert alone.status_code == 410


def test_a_page_without_bad_epochs_says_nothing_of_them(state_folder):
    with state_folder.client() as client:
        answer = client.get("/runs/1/strip")
        assert "x-cam-quarantined" not in answer.headers
        assert client.get("/runs/1/blanks").json()["quarantined_epochs"] == []


def test_two_bad_epochs_are_both_left_out_of_one_page(state_folder):
    flip(state_folder)
    state_folder.replace_checkpoint(1, None)
    with state_folder.client() as client:
        answer = client.get("/runs/1/strip", params={"epochs": "0:"})
        assert answer.headers["x-cam-quarantined"] == f"1,{BAD}"


def test_a_folder_of_blobs_that_is_not_there_quarantines_nothing(trained, tmp_path):
    shutil.copytree(trained["file"].folder, tmp_path / "state")
    state_folder = StateFolder(tmp_path / "state", "file")
    (state_folder.folder / "blobs").rename(state_folder.folder / "elsewhere")
    with state_folder.client() as client:
        answer = client.get(f"/runs/1/epochs/{BAD}/cam")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        (state_folder.folder / "elsewhere").rename(state_folder.folder / "blobs")
        assert client.get(f"/runs/1/epochs/{BAD}/cam").status_code == 200
        assert set(told(client).values()) == {None}


def test_the_checkpoint_of_a_run_that_was_deleted_meanwhile_is_no_bad_one(store):
    with store.read_session() as session:
        epoch = epochs.get(session, 1, BAD)
    delete_run(store, 1)
    with pytest.raises(RunNotFound):
        quarantine_epoch(store, epoch, Damage.MISSING)
