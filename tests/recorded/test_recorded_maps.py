"""Maps of recorded runs: those of the module that was recorded."""

import numpy as np
import pytest
import torch

from service.core.images import from_png
from tests.recorded.conftest import CLASS_NAMES, Recorder, new_network, png, sha256

INPUT = {
    "channels": "rgb",
    "resize": {"size": 8},
    "mean": [0.5, 0.4, 0.3],
    "std": [0.25, 0.25, 0.5],
}


@pytest.fixture
def recorded(recorder: Recorder) -> Recorder:
    """A run of two epochs with two probes."""
    created = recorder.start(input=INPUT)
    assert created.status_code == 201, created.text
    for position in range(2):
        assert recorder.call("PUT", f"probes/{position}?label=1", content=png(position)).is_success
    for epoch in range(2):
        assert recorder.record(epoch, new_network(epoch)).status_code == 201
    return recorder


def test_map_is_that_of_the_recorded_module_on_the_normalized_pixels(recorded: Recorder) -> None:
    response = recorded.http.get(
        f"/runs/{recorded.run_id}/epochs/1/cam.json?image=probe:1&class=owl"
    )
    assert response.status_code == 200, response.text
    module = new_network(1)
    pixels = from_png(png(1)).float() / 255
    mean, std = (torch.tensor(INPUT[name])[:, None, None] for name in ("mean", "std"))
    images = ((pixels - mean) / std).unsqueeze(0)
    activations = torch.relu(module.norm(module.frozen(images)))
    weights = module.head.weight[2] / 64  # the gradient of a mean over 8 x 8 positions
    layer = recorded.http.get(f"/runs/{recorded.run_id}/network").json()["default_layer"]
    # The layer is what a module returns: the normalization, before the functional ReLU.
    before = module.norm(module.frozen(images))
    assert layer == "norm"
    gradient = weights[:, None, None] * (before[0] > 0)
    expected = (gradient.mean((1, 2))[:, None, None] * before[0]).sum(0).clamp(min=0)
    assert np.allclose(response.json()["values"], expected.detach(), atol=1e-6)
    softmax = module.head(activations.mean((2, 3))).softmax(1)[0]
    scores = response.json()["scores"]
    assert [scores[name] for name in CLASS_NAMES] == pytest.approx(softmax.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    "view",
    ["strip", "sheet?epochs=0:", "atlas.json?epochs=0:", "blanks?epochs=0:", "scores", "probes",
     "network", "images/probe:0", "epochs/1/evaluation?measure=deletion",
     "epochs/0/cam.npy?method=integrated-gradients"],
)  # fmt: skip
def test_everything_of_maps_works(recorded: Recorder, view: str) -> None:
    response = recorded.http.get(f"/runs/{recorded.run_id}/{view}")
    assert response.status_code == 200, response.text


def test_images_beside_the_probes_are_unknown(recorded: Recorder) -> None:
    response = recorded.http.get(f"/runs/{recorded.run_id}/epochs/1/cam?image=test:3")
    assert response.status_code == 404
    assert "probes" in response.json()["detail"]


def test_input_of_another_size_than_the_networks_is_refused(recorder: Recorder) -> None:
    refusal = recorder.start(input=INPUT | {"resize": {"size": 16}})
    assert refusal.status_code == 422
    assert refusal.json()["errors"][0]["field"] == "input"
    assert "8 x 8" in refusal.json()["errors"][0]["message"]


def test_networks_and_tensors_are_revalidated_by_their_etags(recorded: Recorder) -> None:
    network_id = recorded.run()["recording"]["network"]
    tensor = sha256(next(iter(recorded.files(new_network(0)).values())))
    for url in (f"/networks/{network_id}", f"/networks/{network_id}/program", f"/tensors/{tensor}"):
        response = recorded.http.get(url)
        assert response.status_code == 200, response.text
        head = recorded.http.head(url)
        assert (head.status_code, head.content) == (200, b"")
        etag = {"If-None-Match": response.headers["etag"]}
        assert recorded.http.get(url, headers=etag).status_code == 304
