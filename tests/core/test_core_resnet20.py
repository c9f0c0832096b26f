"""ResNet-20 has the shapes and parameters of its paper, and trains as any architecture."""

import pytest
import torch

from service.core import checkpoints
from service.core.models.resnet20 import Block, ResNet20, Shortcut
from service.core.training import train
from tests.core.plain_modules import spec_of, trained_states


def test_network_has_the_shapes_and_parameters_of_its_paper():
    network = ResNet20().build((3, 32, 32), 10)
    shapes = {}
    for name in ("conv1", "layer1", "layer2", "layer3", "avgpool"):
        network.get_submodule(name).register_forward_hook(
            lambda _, __, output, name=name: shapes.update({name: tuple(output.shape[1:])})
        )
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert shapes == {
        "conv1": (16, 32, 32), "layer1": (16, 32, 32), "layer2": (32, 16, 16),
        "layer3": (64, 8, 8), "avgpool": (64, 1, 1),
    }  # fmt: skip
    # By hand: 19 convolutions, two numbers of batch normalization per channel, and the output.
    convolutions = 9 * (3 * 16 + 6 * 16 * 16 + 16 * 32 + 5 * 32 * 32 + 32 * 64 + 5 * 64 * 64)
    normalizations = 2 * (7 * 16 + 6 * 32 + 6 * 64)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == convolutions + normalizations + 650 == 269_722  # 0.27 million in the paper


def test_shortcut_takes_every_second_pixel_and_adds_zero_channels():
    signal = torch.arange(16.0).view(1, 1, 4, 4)
    output = Shortcut(2)(signal)
    assert output[0, 0].tolist() == [[0, 2], [8, 10]]
    assert output[0, 1:].tolist() == [[[0, 0], [0, 0]]] * 2


@pytest.mark.parametrize("channels", [3, 6])
def test_block_without_residual_is_its_rectified_shortcut(channels):
    block = Block(3, channels).eval()
    torch.nn.init.zeros_(block.bn2.weight)
    signal = torch.randn(2, 3, 5, 7)
    expected = signal if channels == 3 else Shortcut(3)(signal)
    assert torch.equal(block(signal), expected.relu())


def test_trained_network_learns_and_round_trips_as_a_checkpoint(few_digits, images):
    spec = spec_of(ResNet20(), epochs=3, samples_per_epoch=120)
    untrained, *_, last = train(spec, few_digits)
    assert last.train_loss < untrained.test_loss - 0.5
    data = checkpoints.encode(last.network, checkpoints.CheckpointHeader.for_epoch(spec, 3))
    decoded, header = checkpoints.decode(data)
    assert header.architecture == spec.architecture
    assert torch.allclose(decoded(images), last.network.eval()(images), atol=1e-5)


def test_run_resumed_after_any_epoch_equals_the_uninterrupted_one(few_digits):
    spec = spec_of(ResNet20(), augmentation={"crop_padding": 2})
    uninterrupted = trained_states(spec, few_digits)
    for stopped_after in range(2):
        resumed = trained_states(spec, few_digits, resume_from=uninterrupted[stopped_after])
        assert resumed == uninterrupted[stopped_after + 1 :]
