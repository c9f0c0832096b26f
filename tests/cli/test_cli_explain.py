"""`camreel explain`: probabilities, pictures, and errors that name the argument."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import get_model, get_model_weights

from service.errors import InvalidValue
from service.flows.photos import find_class_by_name
from tests.cli.commands import camreel

NETWORK = "torchvision:squeezenet1_1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo, and weights for three classes."""
    path = tmp_path_factory.mktemp("explain")
    levels = np.random.default_rng(0).integers(0, 256, (12, 18, 3), np.uint8)
    Image.fromarray(levels).resize((360, 240)).save(path / "photo.png")
    (path / "data" / "weights").mkdir(parents=True)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = get_model("squeezenet1_1", num_classes=3)
    torch.save(network.state_dict(), path / "data" / "weights" / "pets.pt")
    (path / "pets.txt").write_text("cat\ndog\nGreat Dane\n")
    (path / "notes.txt").write_text("one\ntwo\n")
    return path


def explain(folder: Path, *options: str, photo: str = "photo.png"):
    arguments = ["--network", NETWORK, "--weights", "file:pets.pt", *options]
    return camreel(folder, "explain", photo, *arguments, CAMREEL_DATA_DIR="data")


def test_classes_are_explained_with_their_probabilities(folder: Path) -> None:
    process = explain(
        folder,
        "--classes",
        "pets.txt",
        "--class",
        "great dane",
        "--class",
        "0",
        "--out",
        "pictures",
    )
    assert process.returncode == 0, process.stderr
    network = get_model("squeezenet1_1", num_classes=3).eval()
    network.load_state_dict(torch.load(folder / "data" / "weights" / "pets.pt"))
    transforms = get_model_weights("squeezenet1_1").DEFAULT.transforms()
    with torch.no_grad():
        images = transforms(Image.open(folder / "photo.png")).unsqueeze(0)
        probabilities = network(images)[0].softmax(0)
    for name, probability in zip(("cat", "dog", "Great Dane"), probabilities, strict=True):
        line = next(line for line in process.stdout.splitlines() if f" {name} " in line)
        assert f"{probability:.2%}" in line
    names = sorted(path.name for path in (folder / "pictures").iterdir())
    assert names == ["photo-cat.png", "photo-explained.png", "photo-great-dane.png"]
    assert Image.open(folder / "pictures" / "photo-cat.png").size == (448, 448)
    assert not (folder / "camreel-data").exists()  # no run, no store


def test_picture_of_all_overlays_alone_is_written_to_a_file(folder: Path) -> None:
    process = explain(folder, "--out", "all.png", "--size", "64", "--top", "1")
    assert process.returncode == 0, process.stderr
    width, height = Image.open(folder / "all.png").size
    assert width > height
    assert height > 64
    assert not list(folder.glob("photo-*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--network", "resnet18"], "network: must be torchvision:<name>"),
        (["--weights", "best"], "weights: must be none, default or file:<name>"),
        (["--weights", "file:other.pt"], "weights: The file other.pt is missing"),
        (["--class", "3"], "class: no class is named 3; classes are numbered 0 to 2"),
        (["--classes", "notes.txt"], "classes: notes.txt has 2 names, and the network has 3"),
        (["--method", "glad-cam"], "method: no such method"),
    ],
)
def test_error_is_one_line_that_names_the_argument(folder: Path, options, message) -> None:
    process = explain(folder, *options, "--out", "none")
    assert process.returncode == 1
    assert process.stderr.startswith(f"camreel: {message}")
    assert len(process.stderr.splitlines()) == 1


def test_file_that_is_no_photo_is_refused(folder: Path) -> None:
    process = explain(folder, photo="pets.txt")
    assert process.stderr.startswith("camreel: photo: pets.txt")
    assert "absent.png" in explain(folder, photo="absent.png").stderr


def test_unknown_class_is_answered_with_similar_names() -> None:
    names = ["tabby", "tiger cat", "Egyptian cat", "Great Dane"]
    assert find_class_by_name("egyptian CAT", names) == 2
    assert find_class_by_name("3", names) == 3
    with pytest.raises(InvalidValue, match="no class is named tabbi; similar: tabby"):
        find_class_by_name("tabbi", names)
    with pytest.raises(InvalidValue, match="similar: tiger cat, Egyptian cat"):
        find_class_by_name("cat", names)
