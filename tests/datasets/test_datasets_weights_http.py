"""A network with given weights explains an uploaded photo over HTTP: a run of no epochs."""

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import get_model, get_model_weights

from tests.datasets.conftest import COLORS, encode, picture, write_folder
from tests.uploads.conftest import Application

NETWORK = "squeezenet1_1"
TRANSFORMS = get_model_weights(NETWORK).DEFAULT.transforms(crop_size=64, resize_size=72)
INPUT = {
    "resize": {"mode": "shorter", "size": 72},
    "crop": {"size": 64},
    "mean": TRANSFORMS.mean,
    "std": TRANSFORMS.std,
}
PHOTO = picture(COLORS["coral"], 7, (120, 90))


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return get_model(NETWORK, num_classes=len(COLORS)).state_dict()


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory, weights) -> Iterator[Application]:
    folder: Path = tmp_path_factory.mktemp("weights")
    write_folder(folder / "data" / "folders" / "colors")
    (folder / "data" / "weights").mkdir()
    torch.save(weights, folder / "data" / "weights" / "colors.pt")
    application = Application(folder / "state", data_dir=folder / "data", min_free_bytes=0)
    yield application
    application.close()


@pytest.fixture(scope="module")
def run(application: Application) -> str:
    """The address of a run of no epochs: epoch 0 is the network with its weights."""
    spec = {
        "dataset": "folder:colors",
        "architecture": {"name": f"torchvision:{NETWORK}", "weights": "file:colors.pt"},
        "input": INPUT,
        "epochs": 0,
    }
    created = application.request("POST", "/runs", json=spec)
    assert created.status_code == 201, created.text
    address = f"/runs/{created.json()['id']}"
    assert application.request("GET", address).json()["status"] == "succeeded"
    return address


@pytest.fixture(scope="module")
def reference(application: Application, run: str) -> str:
    """The reference of the uploaded photo."""
    uploaded = application.request(
        "POST",
        "/images",
        params={"run_id": run.rpartition("/")[2]},
        content=encode(PHOTO),
        headers={"content-type": "image/png"},
    )
    assert uploaded.status_code == 201, uploaded.text
    return str(uploaded.json()["reference"])


def get(application: Application, address: str, **parameters: object) -> httpx.Response:
    response = application.request("GET", address, params=parameters)
    assert response.status_code == 200, response.text
    return response


def test_scores_of_the_photo_are_those_of_the_network(application, run, reference, weights):
    network = get_model(NETWORK, num_classes=len(COLORS)).eval()
    network.load_state_dict(weights)
    with torch.no_grad():
        probabilities = network(TRANSFORMS(PHOTO).unsqueeze(0)).softmax(1)[0]
    scores = get(application, f"{run}/scores", image=reference, epochs="0").json()
    assert np.allclose(scores["probabilities"][0], probabilities, atol=1e-4)


def test_each_class_of_the_photo_has_a_map_of_its_own(application, run, reference):
    levels = {}
    for name in ("amber", "coral"):
        parameters = {"image": reference, "class": name, "method": "proposed"}
        overlay = get(application, f"{run}/epochs/0/cam", **parameters)
        assert Image.open(io.BytesIO(overlay.content)).size == (224, 224)
        content = get(application, f"{run}/epochs/0/cam.npy", **parameters).content
        levels[name] = np.load(io.BytesIO(content))
    assert not np.allclose(levels["amber"], levels["coral"])
