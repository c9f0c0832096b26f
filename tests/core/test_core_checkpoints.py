"""A checkpoint contains the weights and the header needed to rebuild the network."""

import json

import pytest
import torch
from safetensors.torch import load

from service.core import checkpoints
from service.core.checkpoints import CheckpointHeader
from service.core.models.table1 import Table1

PARAMETERS = {
    "kernel_size": 5,
    "channels": [3, 4],
    "hidden_units": 6,
    "dropout": 0.25,
    "hidden_activation": "tanh",
    "output_activation": "sigmoid",
}
HEADER = CheckpointHeader(
    Table1.model_validate(PARAMETERS), 17, "digits", (1, 28, 28), tuple("0123456789")
)


def test_round_trip_preserves_the_network(untrained, images):
    ours = untrained(seed=3, **PARAMETERS)
    theirs, header = checkpoints.decode(checkpoints.encode(ours, HEADER))
    assert header == HEADER
    for name, tensor in ours.state_dict().items():
        assert torch.equal(theirs.state_dict()[name], tensor)
    assert theirs.output_activation == "sigmoid"
    assert torch.allclose(theirs(images), ours(images), atol=1e-6)


def test_decoded_network_is_in_evaluation_mode_without_gradients(untrained):
    network, _ = checkpoints.decode(checkpoints.encode(untrained(**PARAMETERS).train(), HEADER))
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())


def test_header_is_read_without_the_tensors(untrained):
    data = checkpoints.encode(untrained(**PARAMETERS), HEADER)
    size = 8 + int.from_bytes(data[:8], "little")
    assert checkpoints.read_header(data[:size]) == HEADER


def test_checkpoint_is_a_safetensors_file_with_metadata(untrained):
    network = untrained(**PARAMETERS)
    data = checkpoints.encode(network, HEADER)
    assert load(data).keys() == network.state_dict().keys()
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["camreel"])
    assert metadata == {
        "format": 1,
        "architecture": {"name": "table1"} | PARAMETERS,
        "epoch": 17,
        "dataset": "digits",
        "image_shape": [1, 28, 28],
        "class_names": list("0123456789"),
    }


def test_equal_networks_are_encoded_to_equal_bytes(untrained):
    ours = checkpoints.encode(untrained(seed=1, **PARAMETERS), HEADER)
    for _ in range(5):
        assert checkpoints.encode(untrained(seed=1, **PARAMETERS), HEADER) == ours
    assert checkpoints.encode(untrained(seed=2, **PARAMETERS), HEADER) != ours


@pytest.mark.parametrize("training", [True, False])
def test_bytes_do_not_depend_on_memory_format_and_mode(untrained, training):
    ours = checkpoints.encode(untrained(**PARAMETERS), HEADER)
    network = untrained(**PARAMETERS).to(memory_format=torch.channels_last).train(training)
    assert checkpoints.encode(network, HEADER) == ours


def test_digest_is_sha256():
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert checkpoints.digest(b"abc") == abc
