"""Invalid checkpoints raise CheckpointCorrupt and are never executed."""

import contextlib
import json
import pickle
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from service.core import checkpoints
from service.core.checkpoints import CheckpointHeader
from service.core.models.table1 import Table1
from service.errors import CheckpointCorrupt

ARCHITECTURE = Table1(channels=[1, 1], hidden_units=1)
HEADER = CheckpointHeader(ARCHITECTURE, 0, "digits", (1, 28, 28), ("a", "b"))
VALID = checkpoints.encode(ARCHITECTURE.build((1, 28, 28), 2), HEADER)
HEADER_BYTES = 8 + int.from_bytes(VALID[:8], "little")


def with_json(header: bytes) -> bytes:
    """A file whose JSON is `header`, followed by the tensors of a valid checkpoint."""
    return struct.pack("<Q", len(header)) + header + VALID[HEADER_BYTES:]


def with_metadata(metadata: str) -> bytes:
    """A file with valid tensors whose Camreel metadata is `metadata`."""
    header = json.loads(VALID[8:HEADER_BYTES])
    header["__metadata__"]["camreel"] = metadata
    return with_json(json.dumps(header).encode())


def with_value(key: str, value: object) -> bytes:
    return with_metadata(json.dumps(json.loads(HEADER.to_json()) | {key: value}))


def test_valid_checkpoint_is_decoded():
    assert checkpoints.decode(VALID)[1] == HEADER
    assert checkpoints.decode(with_value("epoch", 3))[1].epoch == 3


class Harmful:
    """An object whose unpickling creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_is_refused_and_never_executed(tmp_path, protocol):
    created_file = tmp_path / "created"
    data = pickle.dumps(Harmful(created_file), protocol=protocol)
    for file_content in (data, with_json(data), struct.pack("<Q", len(data)) + data):
        with pytest.raises(CheckpointCorrupt):
            checkpoints.decode(file_content)
    assert not created_file.exists()
    pickle.loads(data)
    assert created_file.exists()  # unpickling would have created it


def test_torch_save_file_is_refused(tmp_path):
    file = tmp_path / "network.safetensors"
    torch.save(ARCHITECTURE.build((1, 28, 28), 2), file)
    with pytest.raises(CheckpointCorrupt):
        checkpoints.decode(file.read_bytes())


def test_tensors_without_metadata_are_refused():
    with pytest.raises(CheckpointCorrupt):
        checkpoints.decode(save(ARCHITECTURE.build((1, 28, 28), 2).state_dict()))


@pytest.mark.parametrize(
    "length", [0, 1, 7, 8, 9, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 1, len(VALID) - 1]
)
def test_truncated_file_is_refused(length):
    with pytest.raises(CheckpointCorrupt):
        checkpoints.decode(VALID[:length])


def test_trailing_bytes_are_refused():
    with pytest.raises(CheckpointCorrupt):
        checkpoints.decode(VALID + b"\0")


@settings(deadline=None, max_examples=300)
@given(st.integers(0, HEADER_BYTES * 8 - 1))
def test_flipped_bit_in_the_header_is_refused_or_harmless(bit):
    # Harmless changes are another epoch or another letter in a name. Any other exception than
    # CheckpointCorrupt would be a crash.
    data = bytearray(VALID)
    data[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(CheckpointCorrupt):
        network, _ = checkpoints.decode(bytes(data))
        assert network.state_dict().keys() == ARCHITECTURE.build((1, 28, 28), 2).state_dict().keys()


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data):
    for file in (data, with_json(data)):
        with pytest.raises(CheckpointCorrupt):
            checkpoints.decode(file)


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(with_json(DEEP.encode()), id="file"),
        pytest.param(with_json(b'{"__metadata__": ' + DEEP.encode()), id="metadata"),
        pytest.param(with_metadata(DEEP), id="camreel metadata"),
        pytest.param(with_metadata('{"a":' * 100_000), id="camreel metadata values"),
    ],
)
def test_deeply_nested_json_is_refused(data):
    with pytest.raises(CheckpointCorrupt):
        checkpoints.decode(data)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"{}",
        b'{"__metadata__": null}',
        b'{"__metadata__": []}',
        b'{"__metadata__": {"camreel": null}}',
        b'{"__metadata__": {"camreel": {}}}',
        b'{"__metadata__": {"camreel": ""}}',
        b'{"__metadata__": {"camreel": "\xff"}}',
        b'{"__metadata__": {"camreel": ' + b"9" * 5000 + b"}}",
    ],
)
def test_header_of_another_kind_is_refused(header):
    with pytest.raises(CheckpointCorrupt):
        checkpoints.read_header(with_json(header))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epoch", float("inf")),
        ("epoch", float("nan")),
        ("epoch", "first"),
        ("epoch", None),
        ("image_shape", [1, 28]),
        ("image_shape", [1, 4, 4]),
        ("image_shape", [-1, 28, 28]),
        ("image_shape", [1, 28.5, 28]),
        ("image_shape", ["one", 28, 28]),
        ("image_shape", [1, 10**9, 10**9]),
        ("image_shape", [1, 10**30, 28]),
        ("image_shape", {"D": 1}),
        ("class_names", 2),
        ("class_names", []),
        ("class_names", ["a", "b", "c"]),
        ("architecture", {"name": "resnet"}),
        ("architecture", {"kernel_size": 4}),
        ("architecture", {"layers": 3}),
        ("architecture", None),
    ],
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_invalid_metadata_value_is_refused(key, value):
    with pytest.raises(CheckpointCorrupt):
        checkpoints.decode(with_value(key, value))


@pytest.mark.parametrize("key", ["architecture", "epoch", "dataset", "image_shape", "class_names"])
def test_metadata_without_a_key_is_refused(key):
    metadata = json.loads(HEADER.to_json())
    del metadata[key]
    with pytest.raises(CheckpointCorrupt):
        checkpoints.decode(with_metadata(json.dumps(metadata)))


@pytest.mark.parametrize(
    "parameters", [{"channels": [1, 2]}, {"hidden_units": 2}, {"kernel_size": 5}], ids=str
)
def test_tensors_of_another_shape_are_refused(parameters):
    header = CheckpointHeader(
        ARCHITECTURE.model_copy(update=parameters), 0, "digits", (1, 28, 28), ("a", "b")
    )
    with pytest.raises(CheckpointCorrupt):
        checkpoints.decode(with_metadata(header.to_json()))


def test_missing_or_additional_tensor_is_refused():
    state = ARCHITECTURE.build((1, 28, 28), 2).state_dict()
    metadata = {"camreel": HEADER.to_json()}
    assert checkpoints.decode(save(state, metadata))[1] == HEADER
    with pytest.raises(CheckpointCorrupt):
        checkpoints.decode(save(state | {"additional": torch.zeros(1)}, metadata))
    del state["conv2.bias"]
    with pytest.raises(CheckpointCorrupt):
        checkpoints.decode(save(state, metadata))


def test_refusal_does_not_contain_the_bytes():
    with pytest.raises(CheckpointCorrupt) as refusal:
        checkpoints.decode(b"/etc/passwd" * 10)
    assert "passwd" not in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epoch", True),
        ("epoch", "3"),
        ("epoch", 3.0),
        ("dataset", 1),
        ("image_shape", [True, 28, 28]),
        ("image_shape", [1.0, 28, 28]),
        ("class_names", [1, 2]),
    ],
)
def test_value_of_another_type_is_refused(key, value):
    with pytest.raises(CheckpointCorrupt):
        checkpoints.read_header(with_value(key, value))
