"""Weights that training starts from: torchvision's own, and files of the data directory."""

import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import _api, get_model

from service.core.models.torchvision_classifiers import TorchvisionClassifier
from service.errors import WeightsUnavailable

SHAPE = (3, 32, 32)


class Payload:
    """Executes code when it is unpickled without restrictions."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("executed"),))


@pytest.fixture(scope="module")
def pretrained() -> dict[str, Tensor]:
    """A state dict of resnet18 with 1,000 classes."""
    with torch.random.fork_rng([]):
        torch.manual_seed(5)
        return get_model("resnet18", num_classes=1000).state_dict()


def initialized(
    weights: str, folder: Path | None, name: str = "resnet18", classes: int = 10, depth: int = 3
) -> torch.nn.Module:
    architecture = TorchvisionClassifier(name=f"torchvision:{name}", weights=weights)
    shape = (depth, *SHAPE[1:])
    network = architecture.build(shape, classes)
    architecture.initialize(network, shape, folder)
    return network


def expect_equal_bodies(network: torch.nn.Module, tensors: dict[str, Tensor]) -> None:
    for key, value in network.state_dict().items():
        if not key.startswith("fc."):
            assert torch.equal(value, tensors[key]), key


@pytest.mark.parametrize("classes", [10, 1000])
def test_default_weights_are_torchvisions_download(monkeypatch, pretrained, tmp_path, classes):
    requests = []

    def download(url: str, **options: object) -> dict[str, Tensor]:
        requests.append((url, options))
        return pretrained

    monkeypatch.setattr(_api, "load_state_dict_from_url", download)
    network = initialized("default", tmp_path, classes=classes)
    ((url, options),) = requests
    assert re.fullmatch(r"https://download\.pytorch\.org/models/resnet18-\w+\.pth", url)
    assert options["weights_only"]
    assert options["check_hash"]
    assert options["model_dir"] == tmp_path
    expect_equal_bodies(network, pretrained)
    assert network.fc.weight.shape[0] == classes
    # The last layer is torchvision's only where it has the same classes.
    assert (classes == 1000) == torch.equal(network.fc.weight[:10], pretrained["fc.weight"][:10])


def test_failed_download_says_what_to_copy_where(monkeypatch, tmp_path):
    def fail(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(_api, "load_state_dict_from_url", fail)
    with pytest.raises(WeightsUnavailable, match=r"Copy https://\S+pth to weights/ .*DATA_DIR"):
        initialized("default", tmp_path)


def test_older_names_of_densenet_are_those_of_today(monkeypatch):
    theirs = get_model("densenet121").state_dict()
    older = {re.sub(r"(norm|conv)([12])\.", r"\1.\2.", key): v for key, v in theirs.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in older
    without_counts = {k: v for k, v in older.items() if not k.endswith("num_batches_tracked")}
    monkeypatch.setattr(_api, "load_state_dict_from_url", lambda *_, **__: without_counts)
    network = initialized("default", None, "densenet121", classes=3)
    key = "features.denseblock2.denselayer3.conv2.weight"
    assert torch.equal(network.state_dict()[key], theirs[key])


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors", "nested.pth"])
def test_weights_of_a_file_are_loaded(pretrained, tmp_path, name):
    if name.endswith(".safetensors"):
        save_file(pretrained, tmp_path / name)
    else:
        nested = {"state_dict": pretrained, "epoch": 3} if name == "nested.pth" else pretrained
        torch.save(nested, tmp_path / name)
    expect_equal_bodies(initialized(f"file:{name}", tmp_path), pretrained)


def test_color_weights_are_summed_for_gray_images(pretrained, tmp_path):
    torch.save(pretrained, tmp_path / "weights.pth")
    gray = initialized("file:weights.pth", tmp_path, classes=1000, depth=1).eval()
    color = initialized("file:weights.pth", tmp_path, classes=1000).eval()
    images = torch.rand(2, 1, 32, 32)
    assert torch.allclose(gray(images), color(images.expand(-1, 3, -1, -1)), atol=1e-4)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "missing: put it in weights/"),
        (b"", "damaged|other content"),
        (b"not a file of weights", "damaged|other content"),
        (pickle.dumps({"fc.weight": 1}, protocol=2), "damaged|other content"),
        ({"fc.weight": "text"}, "not a state dict"),
        ([torch.zeros(1)], "not a state dict"),
        ({"conv1.weight": torch.zeros(3)}, "another network or image size.*bn1.bias"),
        (Payload(), "other content than weights"),
    ],
    ids=["missing", "empty", "text", "pickle", "no tensors", "list", "other network", "code"],
)
def test_other_files_are_refused_and_execute_nothing(tmp_path, monkeypatch, content, text):
    monkeypatch.chdir(tmp_path)
    if isinstance(content, bytes):
        (tmp_path / "weights.pth").write_bytes(content)
    elif content is not None:
        torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(WeightsUnavailable, match=text) as refusal:
        initialized("file:weights.pth", tmp_path)
    assert str(tmp_path) not in str(refusal.value)
    assert not (tmp_path / "executed").exists()
