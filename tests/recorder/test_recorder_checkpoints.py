"""Checkpoints of other programs, as a run, without running code of theirs."""

import argparse
import copy
import datetime
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from camreel.checkpoints import (
    CheckpointRefused,
    StoredCheckpoint,
    import_checkpoints,
    read_checkpoint,
)
from camreel.checkpoints.reading import find_weights
from camreel.spool import Spool
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from typer.testing import CliRunner

from service.cli import app
from service.store import epochs
from service.store.store import open_store
from tests.recorder.conftest import assert_equal_weights, change_weights, new_network


class Config:
    """A class of a user."""

    def __init__(self) -> None:
        self.lr = 0.1


class Harmful:
    """Would create a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self._path,))


def wrapped(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def layouts(network: nn.Module) -> dict[str, tuple[Any, int | None, str]]:
    """Contents of files by who writes them, their epochs, and where the weights are."""
    state = network.state_dict()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1).state_dict()
    return {
        "plain": (state, None, "the file itself"),
        "torchvision": (
            {
                "model": wrapped(state, "module."),
                "optimizer": optimizer,
                "epoch": 3,
                "args": argparse.Namespace(lr=0.1, output_dir=Path("out")),
            },
            3,
            "model, without `module.`",
        ),
        "timm": (
            {
                "epoch": 4,
                "arch": "resnet18",
                "state_dict": wrapped(state, "_orig_mod."),
                "args": argparse.Namespace(),
                "metric": np.float64(0.5),
            },
            4,
            "state_dict",
        ),
        "lightning": (
            {
                "epoch": 5,
                "pytorch-lightning_version": "2.6",
                "state_dict": {**wrapped(state, "network."), "metric.total": torch.zeros(())},
                "hyper_parameters": {"config": Config()},
                "callbacks": {"time": datetime.datetime(2026, 1, 1)},
            },
            5,
            "state_dict, without `network.`",
        ),
    }


@pytest.mark.parametrize("name", ["plain", "torchvision", "timm", "lightning"])
@pytest.mark.parametrize("is_zip", [True, False])
def test_weights_are_found_in_layouts_of_frameworks(name, is_zip, tmp_path: Path) -> None:
    network = new_network()
    content, epoch, location = layouts(network)[name]
    path = tmp_path / "weights.pt"
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    checkpoint = read_checkpoint(path)
    assert checkpoint.epoch == epoch
    fitting_weights = find_weights(checkpoint, network.state_dict())
    assert fitting_weights.location == location
    for key, tensor in network.state_dict().items():
        assert torch.equal(fitting_weights.weights[key], tensor)


def test_nothing_of_a_checkpoint_is_executed(tmp_path: Path) -> None:
    victim = tmp_path / "touched"
    path = tmp_path / "harmful.pt"
    torch.save({"model": new_network().state_dict(), "x": Harmful(victim)}, path)
    try:
        checkpoint = read_checkpoint(path)
    except CheckpointRefused:
        pass
    else:
        assert checkpoint.stand_ins
    assert not victim.exists()
    # The same file does its harm where it is loaded without care.
    torch.load(path, weights_only=False)
    assert victim.exists()


def test_whole_modules_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    for content, reason in (
        (new_network(), "whole pickled module"),
        ([1, 2], "a list instead of a dictionary"),
    ):
        torch.save(content, path)
        with pytest.raises(CheckpointRefused, match=reason):
            read_checkpoint(path)
    for data in (b"", b"no checkpoint", pickle.dumps({"a": 1})[:-2]):
        path.write_bytes(data)
        with pytest.raises(CheckpointRefused):
            read_checkpoint(path)


def test_weights_of_another_network_are_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"model": new_network().state_dict()}, path)
    other_network = new_network()
    other_network.head = nn.Linear(4, 7)
    reason = r"head\.weight has the shape \(3, 4\), and the network's \(7, 4\)"
    with pytest.raises(CheckpointRefused, match=reason):
        find_weights(read_checkpoint(path), other_network.state_dict())
    torch.save({"epoch": 1}, path)
    with pytest.raises(CheckpointRefused, match="no weights"):
        find_weights(read_checkpoint(path), other_network.state_dict())


def test_files_are_epochs_in_order_and_misfits_are_reported(tmp_path: Path, probes) -> None:
    network = new_network()
    copies = {}
    for epoch in (10, 2, 1):
        change_weights(network, epoch)
        copies[epoch] = copy.deepcopy(network)
        save_file(network.state_dict(), tmp_path / f"epoch-{epoch}.safetensors")
    torch.save({"epoch": 2, "model": network.state_dict()}, tmp_path / "last.pt")
    (tmp_path / "broken.pt").write_bytes(b"x")
    result = import_checkpoints(
        new_network(5),
        [path for path in tmp_path.iterdir() if path.is_file()],
        probes=probes,
        spool=tmp_path / "spools",
        url="",
    )
    assert [path.name for path in result.locations] == [
        f"epoch-{e}.safetensors" for e in (1, 2, 10)
    ]
    assert {path.name for path in result.refusals} == {"broken.pt", "last.pt"}
    spool = Spool(result.spool)
    assert [record.number for record in spool.records()] == [1, 2, 10]
    for epoch, spooled in zip((1, 2, 10), spool.pending_epochs(), strict=True):
        assert_equal_weights(load_file(spooled.path), copies[epoch])


def test_command_imports_checkpoints_as_a_run(tmp_path: Path, monkeypatch) -> None:
    network = new_network()
    for epoch in range(2):
        change_weights(network, epoch)
        torch.save({"state_dict": network.state_dict()}, tmp_path / f"epoch-{epoch}.pt")
    for name in ("cat", "owl"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (10, 20), "red").save(tmp_path / "images" / name / "0.png")
    (tmp_path / "classes.txt").write_text("cat\ndog\nowl\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAMREEL_URL", "http://127.0.0.1:9")  # which is not asked
    arguments = [
        "import-checkpoints",
        "epoch-*.pt",
        "--model",
        "tests.recorder.conftest:TinyNetwork",
    ]
    arguments += ["--images", "images", "--classes", "classes.txt", "--size", "8"]
    result = CliRunner().invoke(app, [*arguments, "--state-dir", str(tmp_path / "state")])
    assert result.exit_code == 0, result.output
    assert "epoch-1.pt: weights in state_dict" in result.output
    assert "is run 1: succeeded, 2 epochs" in result.output
    url = f"sqlite:///{tmp_path / 'state' / 'camreel.db'}"
    with open_store(url, "sql") as store, store.read_session() as session:
        assert [epoch.epoch for epoch in epochs.list_epochs(session, 1)] == [0, 1]


def test_epochs_are_read_from_names(tmp_path: Path) -> None:
    for name, epoch in (
        ("epoch-012.pt", 12),
        ("epoch=3-step=300.ckpt", 3),
        ("model_7.pt", 7),
        ("resnet18.pt", None),
        ("checkpoint-500/model.safetensors", 500),
    ):
        assert StoredCheckpoint(tmp_path / name, {}, ()).epoch == epoch
