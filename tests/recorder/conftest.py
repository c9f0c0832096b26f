"""A tiny network in training, its recorder, and a service for it in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import camreel
import httpx
import pytest
import torch
from camreel.spool import Sender, Spool
from camreel.spool.http_destination import HttpDestination
from fastapi.testclient import TestClient
from torch import Tensor, nn

from service.app import create_app
from service.settings import Settings
from service.store.store import Store, open_store

CLASS_NAMES = ["cat", "dog", "owl"]


class TinyNetwork(nn.Module):
    """In-place ReLU, batch norm and dropout: what a recorder must not disturb."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(4, len(CLASS_NAMES))

    def forward(self, images: Tensor) -> Tensor:
        features = self.relu(self.norm(self.conv(images)))
        return self.head(self.drop(features.mean(dim=(2, 3))))


def new_network(seed: int = 0) -> TinyNetwork:
    torch.manual_seed(seed)
    return TinyNetwork()


def change_weights(network: nn.Module, seed: int) -> None:
    """What stands for an epoch of training where only the recorder matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.rand(parameter.shape, generator=generator))


@pytest.fixture
def probes() -> Tensor:
    """Four images of levels that 8 bits hold exactly."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (4, 3, 8, 8), generator=generator) / 255


NewRecorder = Callable[..., camreel.Recorder]


@pytest.fixture
def new_recorder(
    tmp_path: Path, probes: Tensor, monkeypatch: pytest.MonkeyPatch
) -> Iterator[NewRecorder]:
    """Makes recorders with a spool in the test's folder, strict unless said otherwise."""
    for name in ("CAMREEL_URL", "CAMREEL_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    recorders: list[camreel.Recorder] = []

    def create(network: nn.Module, **options: Any) -> camreel.Recorder:
        defaults = {"probes": probes, "spool": tmp_path / "spools", "strict": True}
        recorder = camreel.Recorder(network, **defaults | options)
        recorders.append(recorder)
        return recorder

    yield create
    for recorder in recorders:
        recorder.close(timeout_seconds=0)


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'camreel.db'}"


@pytest.fixture
def client(tmp_path: Path, database: str) -> Iterator[TestClient]:
    settings = Settings(
        _env_file=None,
        state_dir=tmp_path,
        database_url=database,
        min_free_bytes=0,
        executor="inline",
        log_requests=False,
    )
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def store(client: TestClient, database: str) -> Iterator[Store]:
    """The store of the service, opened a second time."""
    with open_store(database, "sql") as opened_store:
        yield opened_store


class FaultyTransport(httpx.BaseTransport):
    """Answers requests by a service in this process, except those that `fault` answers itself."""

    def __init__(self, client: TestClient) -> None:
        self._client = client
        self.requests: list[httpx.Request] = []
        self.fault: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
        self.fault_after: Callable[[httpx.Request], None] = lambda _: None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        response = self.fault(request)
        if response is not None:
            return response
        answer = self._client.request(
            request.method,
            str(request.url),
            content=request.content,
            headers=dict(request.headers),
        )
        # Processed, and the answer is lost.
        self.fault_after(request)
        return httpx.Response(
            answer.status_code, headers=dict(answer.headers), content=answer.content
        )

    def count(self, method: str, part_of_path: str) -> int:
        return sum(r.method == method and part_of_path in r.url.path for r in self.requests)


@pytest.fixture
def transport(client: TestClient) -> FaultyTransport:
    return FaultyTransport(client)


def spool_of(recorder: camreel.Recorder) -> Spool:
    assert recorder.status.spool is not None
    return Spool(recorder.status.spool)


def new_sender(
    recorder: camreel.Recorder, transport: httpx.BaseTransport, **options: Any
) -> Sender:
    destination = HttpDestination("http://127.0.0.1", transport=transport, **options)
    return Sender(spool_of(recorder), destination)


def stored_weights(client: TestClient, run_id: int, epoch: int) -> dict[str, Tensor]:
    """The tensors of an epoch as the service returns them."""
    from safetensors.torch import load

    manifest = client.get(f"/runs/{run_id}/epochs/{epoch}/checkpoint").raise_for_status().json()
    return {
        name: load(client.get(f"/tensors/{sha256}").raise_for_status().content)["tensor"]
        for name, sha256 in manifest["tensors"].items()
    }


def assert_equal_weights(stored: dict[str, Tensor], network: nn.Module) -> None:
    """All weights that the service has are those of the network, bit for bit."""
    state = network.state_dict()
    assert stored.keys() == state.keys() - {"norm.num_batches_tracked"}
    for name, tensor in stored.items():
        assert torch.equal(tensor, state[name]), name
