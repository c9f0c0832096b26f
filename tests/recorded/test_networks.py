"""Networks: programs are verified, stored once, and never executed when they are received."""

import json
import time

from camreel.program import Export, find_layers
from fastapi.testclient import TestClient

from tests.recorded.conftest import CLASS_NAMES, INPUT_SHAPE, sha256


def test_program_is_stored_once_by_the_hash_of_its_json(
    client: TestClient, tiny_export: Export, program: bytes
) -> None:
    spaced = json.dumps(json.loads(program), indent=2).encode()
    responses = [client.post("/networks", content=text) for text in (spaced, program, spaced)]
    assert [response.status_code for response in responses] == [201, 200, 200]
    network = responses[0].json()
    assert all(response.json() == network for response in responses)
    assert network["id"] == sha256(program)
    assert responses[0].headers["Location"] == f"/networks/{network['id']}"
    assert client.get(f"/networks/{network['id']}").json() == network
    assert client.get(f"/networks/{network['id']}/program").content == program


def test_network_describes_its_layers(
    client: TestClient, tiny_export: Export, program: bytes
) -> None:
    network = client.post("/networks", content=program).json()
    assert network["input_shape"] == list(INPUT_SHAPE)
    assert network["classes"] == len(CLASS_NAMES)
    layers = {layer["name"]: layer for layer in network["layers"]}
    assert list(layers) == [layer.name for layer in find_layers(tiny_export.program)]
    assert layers["norm"]["grid"] == {"channels": 4, "height": 8, "width": 8}
    assert layers["norm"]["prefix_tokens"] == 0
    assert network["default_layer"] in layers


def test_unknown_network_is_404_problem(client: TestClient) -> None:
    for address in (f"/networks/{'0' * 64}", f"/networks/{'0' * 64}/program"):
        response = client.get(address)
        assert (response.status_code, response.json()["type"]) == (404, "network-not-found")


def with_values(program: bytes, **values: object) -> bytes:
    return json.dumps(json.loads(program) | values).encode()


def with_step(program: bytes, **values: object) -> bytes:
    document = json.loads(program)
    document["steps"][0] |= values
    return json.dumps(document).encode()


HOSTILE = {
    "no JSON": lambda program: b"\x80\x04K\x01.",
    "no object": lambda program: b"[]",
    "deep nesting": lambda program: b"[" * 100_000,
    "another format": lambda program: with_values(program, format=99),
    "unknown field": lambda program: with_values(program, hook="os.system"),
    "unknown operator": lambda program: with_step(program, operator="from_file"),
    "operator that is code": lambda program: with_step(program, operator="__import__('os')"),
    "no steps": lambda program: with_values(program, steps=[]),
    "a million steps": lambda program: with_values(program, steps=[{}] * 1_000_000),
    "image of 10^12": lambda program: with_values(program, input=[3, 10**6, 10**6]),
    "wrong shape": lambda program: with_step(program, shape=[1, 2, 3]),
    "tensor of 10^12": lambda program: with_values(
        program, tensors=[{"name": "w", "dtype": "float32", "shape": [10**12]}]
    ),
    "name that is a path": lambda program: with_values(
        program, tensors=[{"name": "../w", "dtype": "float32", "shape": [1]}]
    ),
}


def test_hostile_programs_are_refused_in_bounded_time(client: TestClient, program: bytes) -> None:
    for kind, change in HOSTILE.items():
        start_seconds = time.monotonic()
        response = client.post("/networks", content=change(program))
        assert response.status_code == 422, kind
        (error,) = response.json()["errors"]
        assert error["field"], kind
        assert error["message"], kind
        assert time.monotonic() - start_seconds < 5, kind


def test_program_of_more_than_four_mebibytes_is_413(client: TestClient) -> None:
    response = client.post("/networks", content=b" " * (4 * 2**20 + 1))
    assert response.status_code == 413
