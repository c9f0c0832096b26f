"""Modules that cannot be exported are refused with the reason and the line."""

import inspect

import pytest
import torch
from camreel.program import ExportError, export_program
from torch import nn

from tests.program.classifiers import IMAGES, Classifier, with_features


def _line_of(function, text):
    lines, start = inspect.getsourcelines(function)
    return start + next(i for i, line in enumerate(lines) if text in line)


def _branch_on_values(module, images):
    signal = module.conv(images)
    if signal.sum() > 0:
        return signal
    return -signal


def _numpy(module, images):
    signal = module.conv(images)
    return torch.from_numpy(signal.detach().numpy())


def _fourier(module, images):
    return torch.fft.rfft2(module.conv(images)).real


def _no_grad(module, images):
    with torch.no_grad():
        signal = module.conv(images)
    return signal + module.conv(images)


@pytest.mark.parametrize(
    ("features", "text"), [(_branch_on_values, "if signal"), (_numpy, "torch.from_numpy")]
)
def test_what_cannot_be_exported_is_refused_with_the_line(features, text):
    with pytest.raises(ExportError) as refusal:
        export_program(with_features(features), IMAGES[:1])
    assert refusal.value.location == f"{__file__}:{_line_of(features, text)}"
    assert refusal.value.reason


def test_unsupported_operator_is_refused_with_the_line_of_forward():
    with pytest.raises(ExportError, match="fft_rfft2") as refusal:
        export_program(with_features(_fourier), IMAGES[:1])
    line = _line_of(Classifier.forward, "self.features")
    assert refusal.value.location == f"{inspect.getfile(Classifier)}:{line}"


def test_part_without_gradients_is_refused():
    with pytest.raises(ExportError, match="gradient"):
        export_program(with_features(_no_grad), IMAGES[:1])


def test_module_that_fails_is_refused_with_its_own_error():
    module = Classifier()
    with pytest.raises(ExportError, match="channels"):
        export_program(module, torch.zeros(1, 1, 8, 8))


def test_script_module_is_refused():
    with pytest.raises(ExportError, match="ScriptModule"):
        export_program(torch.jit.script(nn.Flatten()), IMAGES[:1])


@pytest.mark.parametrize("images", [torch.zeros(3, 8, 8), torch.zeros(1, 3, 8, 8).double()])
def test_example_images_of_another_form_are_refused(images):
    with pytest.raises(ExportError, match="float32"):
        export_program(Classifier(), images)
