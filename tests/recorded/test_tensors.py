"""Uploads of tensors: resumable, verified, stored once."""

import socket
import threading

import pytest
import torch
from fastapi.testclient import TestClient
from safetensors.torch import load

from service.core import tensor_files
from service.flows import tensor_uploads
from service.store import tensors
from service.store.store import Store
from tests.recorded.conftest import sha256, tensor_file

PART = 256 * 2**10

TENSORS = {
    "scalar": torch.tensor(7),
    "empty": torch.zeros(0, 3),
    "bool": torch.tensor([True, False]),
    "half": torch.tensor([1.5, -2], dtype=torch.float16),
    "brain": torch.tensor([[1.0, 3e38], [0, -1]], dtype=torch.bfloat16),
    "double": torch.randn(3, 2, 2, dtype=torch.float64),
    "byte": torch.arange(5, dtype=torch.uint8),
}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (tensors, tensor_uploads):
        monkeypatch.setattr(module, "PART_BYTES", PART)


def put(
    client: TestClient, file: bytes, start: int = 0, end: int | None = None, name: str = ""
) -> tuple[int, dict]:
    body = file[start:end]
    headers = {"Content-Range": f"bytes {start}-{start + len(body) - 1}/{len(file)}"}
    response = client.put(f"/tensors/{name or sha256(file)}", content=body, headers=headers)
    return response.status_code, response.json()


@pytest.mark.parametrize("name", list(TENSORS))
def test_tensor_is_returned_as_it_was_stored(client: TestClient, name: str) -> None:
    file = tensor_file(TENSORS[name])
    address = f"/tensors/{sha256(file)}"
    assert client.get(address).status_code == 404
    first, second = (client.put(address, content=file) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    dtype = str(TENSORS[name].dtype).removeprefix("torch.")
    assert (first.json()["dtype"], first.json()["shape"]) == (dtype, list(TENSORS[name].shape))
    returned = client.get(address)
    assert torch.equal(load(returned.content)["tensor"], TENSORS[name])
    assert client.head(address).headers["content-length"] == str(len(file))
    assert client.get(address, headers={"Range": "bytes=8-15"}).content == file[8:16]


def test_our_files_are_those_of_safetensors() -> None:
    for tensor in TENSORS.values():
        assert tensor_files.encode(tensor) == tensor_file(tensor)
        assert torch.equal(tensor_files.decode(tensor_file(tensor)), tensor)


def test_elements_that_are_not_finite_are_counted(client: TestClient, small_parts: None) -> None:
    values = [float("nan"), float("inf"), -float("inf"), 1.0, 0.0]
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        file = tensor_file(torch.tensor(values, dtype=dtype))
        assert client.put(f"/tensors/{sha256(file)}", content=file).json()["not_finite"] == 3
    large = torch.zeros(PART)  # four parts, whose borders lie within elements of a shifted start
    large[::1000] = float("nan")
    file = tensor_file(large)
    response = client.put(f"/tensors/{sha256(file)}", content=file).json()
    assert response["not_finite"] == int(large.isnan().sum())


def test_upload_continues_where_it_stopped(client: TestClient, small_parts: None) -> None:
    file = tensor_file(torch.randn(5 * PART // 4))
    address = f"/tensors/{sha256(file)}"
    status, upload = put(client, file, 0, 70_001)
    assert (status, upload["received_bytes"]) == (202, 70_001)
    missing = client.head(address)
    assert (missing.status_code, missing.headers["upload-offset"]) == (404, "70001")
    assert client.get(address).json()["received_bytes"] == 70_001
    status, problem = put(client, file, 70_002)
    assert (status, problem["type"], problem["received_bytes"]) == (409, "upload-conflict", 70_001)
    status, upload = put(client, file, 70_001, 3 * PART)
    assert (status, upload["received_bytes"]) == (202, 3 * PART)
    query = client.put(address, headers={"Content-Range": f"bytes */{len(file)}"})
    assert (query.status_code, query.headers["upload-offset"]) == (202, str(3 * PART))
    # A client that begins again sends what is stored already, which is skipped.
    assert put(client, file)[0] == 201
    assert client.get(address).content == file


def test_short_part_within_a_file_is_not_stored(client: TestClient, small_parts: None) -> None:
    file = tensor_file(torch.randn(PART))
    status, upload = put(client, file, 0, 1000)
    assert (status, upload["received_bytes"]) == (202, 0)


def test_bytes_with_another_hash_are_refused_and_deleted(
    client: TestClient, store: Store, small_parts: None
) -> None:
    file = tensor_file(torch.randn(PART))
    damaged = file[:-1] + bytes([file[-1] ^ 1])
    status, problem = put(client, damaged, name=sha256(file))
    assert (status, problem["errors"][0]["field"]) == (422, "sha256")
    with store.read_session() as session:
        assert list(store.blobs.list_blobs(session)) == []
    assert client.head(f"/tensors/{sha256(file)}").headers["upload-offset"] == "0"
    assert put(client, file)[0] == 201


def header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


VALID = b'{"tensor":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}     '


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\x80\x04K\x01.",
        header(VALID),  # without its elements
        header(VALID) + bytes(9),
        header(VALID.replace(b'"tensor"', b'"weight"')) + bytes(8),
        header(VALID.replace(b" ", b"")) + bytes(8),
        header(VALID.replace(b'":', b'": ')) + bytes(8),
        header(VALID.replace(b"[2]", b"[true,2]")) + bytes(8),
        header(VALID.replace(b"[2]", b"[-1,-2]")) + bytes(8),
        header(VALID.replace(b"[0,8]", b"[8,16]")) + bytes(16),
        header(VALID.replace(b"F32", b"F8")) + bytes(8),
        header(b'{"tensor":' * 200) + bytes(8),
        (2**60).to_bytes(8, "little") + bytes(100),
        header(b'{"tensor":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}}    ') + b"\1\2",
    ],
    ids=range(14),
)
def test_bytes_that_are_no_tensor_file_are_refused(client: TestClient, file: bytes) -> None:
    response = client.put(f"/tensors/{sha256(file)}", content=file)
    assert response.status_code == 422, response.text
    assert response.json()["type"] == "invalid-value"
    assert client.get(f"/tensors/{sha256(file)}").status_code == 404


def test_invalid_ranges_are_refused(client: TestClient) -> None:
    for content_range in ("bytes 0-3/4/5", "0-3/4", "bytes 3-2/9", "bytes 0-9/9", "bytes 0-4/9"):
        response = client.put(
            f"/tensors/{'0' * 64}", content=b"abcd", headers={"Content-Range": content_range}
        )
        assert response.status_code == 422
    too_large = client.put(
        f"/tensors/{'0' * 64}", content=b"a", headers={"Content-Range": f"bytes 0-0/{2**40}"}
    )
    assert too_large.status_code == 413
    assert client.put("/tensors/abc", content=b"a").status_code == 422


def test_two_uploads_of_one_tensor_at_once_store_it_once(
    client: TestClient, store: Store, small_parts: None
) -> None:
    file = tensor_file(torch.randn(2 * PART))
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(put(client, file)[0])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 201, 409}
    # One that met another one continues where that one is.
    assert put(client, file)[0] in (200, 201)
    assert client.get(f"/tensors/{sha256(file)}").content == file
    with store.read_session() as session:
        names = {blob.name for blob in store.blobs.list_blobs(session)}
        assert names == set(tensors.list_blob_keys(session))


def test_what_arrived_before_a_connection_broke_is_stored(new_service, small_parts: None) -> None:
    service = new_service()
    file = tensor_file(torch.randn(2**18))
    url = service.http.base_url
    with socket.create_connection((url.host, url.port)) as connection:
        head = f"PUT /tensors/{sha256(file)} HTTP/1.1\r\nHost: {url.host}:{url.port}\r\n"
        connection.sendall(f"{head}Content-Length: {len(file)}\r\n\r\n".encode() + file[:500_000])
    for _ in range(50):
        offset = int(service.http.head(f"/tensors/{sha256(file)}").headers["upload-offset"])
        if offset:
            break
        threading.Event().wait(0.1)
    assert 64 * 2**10 <= offset <= 500_000
    response = service.http.put(
        f"/tensors/{sha256(file)}",
        content=file[offset:],
        headers={"Content-Range": f"bytes {offset}-{len(file) - 1}/{len(file)}"},
    )
    assert response.status_code == 201, response.text
