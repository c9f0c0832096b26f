"""A service without workers, and a recorder of a tiny network for it."""

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from camreel.program import Export, export_program
from fastapi.testclient import TestClient
from httpx import Response
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn

from service.app import create_app
from service.settings import Settings
from service.store.store import Store, open_store

CLASS_NAMES = ["cat", "dog", "owl"]
INPUT_SHAPE = (3, 8, 8)


class TinyNetwork(nn.Module):
    """A frozen first convolution, batch norm and its buffers, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, len(CLASS_NAMES))

    def forward(self, images: Tensor) -> Tensor:
        features = torch.relu(self.norm(self.frozen(images)))
        return self.head(features.mean(dim=(2, 3)))


def new_network(seed: int = 0) -> TinyNetwork:
    torch.manual_seed(seed)
    return TinyNetwork().eval()


@pytest.fixture(scope="session")
def tiny_export() -> Export:
    return export_program(new_network(), torch.rand(2, *INPUT_SHAPE))


@pytest.fixture(scope="session")
def program(tiny_export: Export) -> bytes:
    return tiny_export.program.to_json()


def tensor_file(tensor: Tensor) -> bytes:
    """The file of a tensor, as safetensors writes it."""
    return bytes(save({"tensor": tensor.contiguous()}))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def png(seed: int) -> bytes:
    """An RGB image of the network's input size, encoded by Pillow."""
    pixels = torch.randint(0, 256, (8, 8, 3), generator=torch.Generator().manual_seed(seed))
    file = io.BytesIO()
    Image.fromarray(pixels.to(torch.uint8).numpy()).save(file, "PNG")
    return file.getvalue()


@dataclass
class Recorder:
    """Sends a run as a user's training script would."""

    http: TestClient
    export: Export
    run_id: int = 0
    lease: str = ""

    def start(self, **fields: Any) -> Response:
        network = self.http.post("/networks", content=self.export.program.to_json()).json()
        body = {"source": "recorded", "network": network["id"], "class_names": CLASS_NAMES}
        response = self.http.post("/runs", json=body | fields)
        if response.status_code == 201:
            self.run_id, self.lease = response.json()["id"], response.json()["lease"]
        return response

    def files(self, module: nn.Module) -> dict[str, bytes]:
        return {name: tensor_file(tensor) for name, tensor in self.export.tensors(module).items()}

    def put_tensor(self, file: bytes) -> Response:
        return self.http.put(f"/tensors/{sha256(file)}", content=file)

    def put_epoch(self, epoch: int, files: dict[str, bytes], **fields: Any) -> Response:
        body = {"tensors": {name: sha256(file) for name, file in files.items()}} | fields
        return self.call("PUT", f"epochs/{epoch}", json=body)

    def record(self, epoch: int, module: nn.Module, **fields: Any) -> Response:
        """Sends an epoch: its manifest, what of it is missing, its manifest again."""
        files = self.files(module)
        response = self.put_epoch(epoch, files, **fields)
        if response.status_code != 422:
            return response
        by_hash = {sha256(file): file for file in files.values()}
        for digest in response.json()["missing"]:
            assert self.put_tensor(by_hash[digest]).status_code == 201
        return self.put_epoch(epoch, files, **fields)

    def call(self, method: str, path: str, **options: Any) -> Response:
        headers = {"Camreel-Lease": self.lease} | options.pop("headers", {})
        address = f"/runs/{self.run_id}/{path}"
        return self.http.request(method, address, headers=headers, **options)

    def run(self) -> dict[str, Any]:
        return dict(self.http.get(f"/runs/{self.run_id}").raise_for_status().json())


DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'camreel.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(params=["sql"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "sql" if request.param == "sql" else f"file:{tmp_path / 'blobs'}"


@pytest.fixture
def new_client(tmp_path: Path, database: str, blobs: str) -> Iterator[Callable[..., TestClient]]:
    clients: list[TestClient] = []

    def create(**settings: Any) -> TestClient:
        options = {"min_free_bytes": 0, "executor": "inline", "log_requests": False} | settings
        app = create_app(
            Settings(
                _env_file=None, state_dir=tmp_path, database_url=database, blobs=blobs, **options
            )
        )
        client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
        client.__enter__()
        clients.append(client)
        return client

    yield create
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(new_client: Callable[..., TestClient]) -> TestClient:
    return new_client()


@pytest.fixture
def store(client: TestClient, database: str, blobs: str) -> Iterator[Store]:
    """The store of the service, opened a second time."""
    with open_store(database, blobs) as opened_store:
        yield opened_store


@pytest.fixture
def recorder(client: TestClient, tiny_export: Export) -> Recorder:
    return Recorder(client, tiny_export)
