"""Datasets, networks and Captum's reference maps for the tests of the core."""

import copy
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam

from service.core.datasets import DATASETS
from service.core.datasets.dataset import Dataset, Split
from service.core.models import StagedNetwork
from service.core.models.table1 import Table1
from service.core.preprocessing import to_network_input
from service.core.spec import RunSpec
from service.core.training import train
from service.errors import DatasetUnavailable

BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[3] / "shared" / "mnist"

SMALL = {"channels": [4, 6], "hidden_units": 12}
"""The network of Table 1 with fewer channels: the same stages, a hundredth of the arithmetic."""


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Torch's threads only slow these small tensors down, especially when tests run in parallel."""
    initial_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(initial_threads)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return DATASETS["digits"].load(Path(), False)


@pytest.fixture(scope="session")
def mnist() -> Dataset:
    folder = Path(os.environ.get("CAMREEL_DATA_DIR", BESIDE_THE_REPOSITORY))
    try:
        return DATASETS["mnist"].load(folder, False)
    except DatasetUnavailable:
        pytest.skip("MNIST is missing: CAMREEL_DATA_DIR does not contain its files")


@pytest.fixture(scope="session")
def few_digits(digits: Dataset) -> Dataset:
    """240 training and 60 test digits: an epoch of a small network takes milliseconds."""
    return replace(
        digits,
        train=Split(digits.train.images[:240], digits.train.labels[:240]),
        test=Split(digits.test.images[:60], digits.test.labels[:60]),
    )


@pytest.fixture(scope="session")
def images(digits: Dataset) -> torch.Tensor:
    """Three test digits as network input, float32 (3, 1, 28, 28)."""
    return to_network_input(digits.test.images[:3])


@pytest.fixture(scope="session")
def untrained() -> Callable[..., StagedNetwork]:
    """Builds Table 1 networks, small by default, with weights from a seed."""

    def build(seed: int = 0, **parameters: object) -> StagedNetwork:
        architecture = Table1.model_validate(SMALL | parameters)
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            return architecture.build((1, 28, 28), 10).eval()

    return build


@pytest.fixture(scope="session")
def learned(digits: Dataset) -> Callable[[str], StagedNetwork]:
    """Builds networks trained on digits for one epoch, cached by their output activation."""
    networks: dict[str, StagedNetwork] = {}

    def trained(output_activation: str) -> StagedNetwork:
        if output_activation not in networks:
            spec = RunSpec.model_validate(
                {
                    "dataset": "digits",
                    "epochs": 1,
                    "batch_size": 50,
                    "architecture": {
                        "channels": [8, 16],
                        "hidden_units": 32,
                        "output_activation": output_activation,
                    },
                    "optimizer": {"name": "adam", "learning_rate": 3e-3},
                }
            )
            *_, last = train(spec, digits)
            networks[output_activation] = last.network.eval()
        return networks[output_activation]

    return trained


@pytest.fixture(scope="session")
def captum_maps() -> Callable[..., np.ndarray]:
    """Captum's maps before their ReLU, for every class: float64 (N, C, H, W).

    In float64, on a copy: where softmax saturates, autograd in float32 loses the gradient.
    """

    def theirs(
        network: StagedNetwork,
        images: torch.Tensor,
        layer: str,
        method: str,
        dtype: torch.dtype = torch.float64,
    ) -> np.ndarray:
        copied = copy.deepcopy(network).to(dtype).requires_grad_(requires_grad=True)
        scores = {
            "proposed": copied,
            "conventional": lambda x: copied.logits(copied(x)).softmax(1),
        }
        gradcam = LayerGradCam(scores[method], copied.get_submodule(layer))
        classes = copied.output.out_features
        maps = [
            gradcam.attribute(images.to(dtype), target=c, relu_attributions=False)
            for c in range(classes)
        ]
        return torch.cat(maps, dim=1).detach().double().numpy()

    return theirs
