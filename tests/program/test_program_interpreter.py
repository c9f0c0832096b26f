"""The interpreter: heads on batches of other sizes, one image at a time, modes, threads."""

import weakref

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from camreel.program import ProgramNetwork, export_program
from camreel.program.cut import cut_program
from torch import nn
from torch.overrides import TorchFunctionMode

from tests.program.networks import example_images, program_network, split_at


def test_residual_values_are_live_and_carry_the_batch():
    network = program_network("resnet18")
    split = split_at(network, "layer3.1.bn1")
    _, live = split.below(example_images("resnet18", 2))
    (value,) = split.cut.live  # the identity branch of the block
    assert live.carries_batch(value)
    assert network.program.steps[value - 1].operator == "relu"


def test_values_of_the_weights_alone_do_not_carry_the_batch():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 4, 4)
            self.positions = nn.Parameter(torch.randn(1, 8, 2, 2))
            self.head = nn.Linear(8, 3)

        def forward(self, images):
            positions = F.interpolate(self.positions, size=(4, 4), mode="bicubic")
            return self.head((self.patches(images) * positions).relu().mean((2, 3)))

    module = Positions()
    export = export_program(module, torch.randn(1, 3, 16, 16))
    network = ProgramNetwork(export.program, export.tensors(module))
    split = split_at(network, "patches")
    images = torch.randn(2, 3, 16, 16)
    activations, live = split.below(images)
    assert [live.carries_batch(value) for value in split.cut.live] == [False]
    head = split.head(activations.repeat_interleave(3, 0), live.repeat(3))
    torch.testing.assert_close(head, network(images).repeat_interleave(3, 0))


def loop_network():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.relu = nn.ReLU()
            self.head = nn.Linear(4, 3)

        def forward(self, images):
            signal = torch.cat([self.conv(image[None]) for image in images])
            return self.head((self.relu(signal) + signal).mean((2, 3)))

    torch.manual_seed(0)
    module = Loop()
    export = export_program(module, torch.randn(1, 3, 8, 8))
    return module, ProgramNetwork(export.program, export.tensors(module))


def test_program_of_one_image_at_a_time_takes_any_number():
    module, network = loop_network()
    assert network.program.batch == 1
    images = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(network(images), module(images))


def test_split_of_one_image_at_a_time_selects_and_repeats_live_values():
    module, network = loop_network()
    images = torch.randn(3, 3, 8, 8)
    split = split_at(network, "relu")
    activations, live = split.below(images)
    assert activations.shape == (3, 4, 8, 8)
    torch.testing.assert_close(split.head(activations, live), module(images))
    repeated = split.head(activations.repeat_interleave(2, 0), live.repeat(2))
    torch.testing.assert_close(repeated, module(images).repeat_interleave(2, 0))


def test_network_is_split_at_its_images():
    network = program_network("resnet18")
    images = example_images("resnet18", 2)
    split = network.split(0)
    activations, live = split.below(images)
    assert torch.equal(activations, images)
    torch.testing.assert_close(split.head(activations, live), network(images))


def test_cut_at_the_output_or_beside_it_is_refused():
    program = program_network("resnet18").program
    with pytest.raises(ValueError, match="does not depend"):
        cut_program(program, program.logits)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 3, 32, 64), (1, 1, 64, 64)])
def test_images_of_another_size_are_refused(shape):
    with pytest.raises(ValueError, match="images of shape"):
        program_network("resnet18")(torch.zeros(shape))


def test_modes_see_relu_convolution_and_batch_norm():
    """Guided backpropagation and FullGrad replace and observe these functions."""

    class Recorder(TorchFunctionMode):
        def __init__(self):
            super().__init__()
            self.calls = []

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.calls.append((func, len(args)))
            return func(*args, **(kwargs or {}))

    network = program_network("resnet18")
    with Recorder() as recorder:
        network(example_images("resnet18", 1))
    functions = [function for function, _ in recorder.calls]
    assert functions.count(torch.relu) == 17
    assert functions.count(F.conv2d) == 20
    assert functions.count(F.batch_norm) == 20


def test_values_are_freed_after_their_last_use():
    """A chain holds two values at a time, however long it is."""
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        *[nn.Tanh() for _ in range(20)],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )
    export = export_program(module, torch.randn(1, 3, 8, 8))
    network = ProgramNetwork(export.program, export.tensors(module))

    class Largest(TorchFunctionMode):
        def __init__(self):
            super().__init__()
            self.alive, self.maximum = set(), 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if func is torch.tanh:
                key = object()
                self.alive.add(key)
                finalizers.append(weakref.finalize(result, self.alive.discard, key))
                self.maximum = max(self.maximum, len(self.alive))
            return result

    finalizers = []
    with torch.no_grad(), Largest() as largest:
        network(torch.randn(2, 3, 8, 8))
    assert len(finalizers) == 20
    assert largest.maximum == 2
