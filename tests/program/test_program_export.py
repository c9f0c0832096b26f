"""What can be exported, and how networks end."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from camreel.program import ExportError, ProgramNetwork, export_program, find_layers
from torch import nn

from tests.program.classifiers import CLASSES, IMAGES, Classifier, with_ending, with_features


def evaluate(module, images=IMAGES):
    """The program, its pre-activations, and the logits that the module computes by itself."""
    export = export_program(module, images[:1])
    pre_activations = ProgramNetwork(export.program, export.tensors(module))(images)
    with torch.no_grad():
        logits = module.fc(module.features(images).mean((2, 3)))
    return export.program, pre_activations, logits


def assert_same_gradients(module, images=IMAGES):
    """Gradients by the pixels of program and module are equal."""
    export = export_program(module, images[:1])
    network = ProgramNetwork(export.program, export.tensors(module))
    gradients = []
    for function in (network, module):
        pixels = images.clone().requires_grad_()
        gradients.append(torch.autograd.grad(function(pixels)[:, 1].sum(), pixels)[0])
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-7)
    return export.program


# Outputs


@pytest.mark.parametrize(
    "output",
    [
        lambda logits: (logits, logits * 2),
        lambda logits: [logits],
        lambda logits: {"logits": logits, "loss": None},
        lambda logits: SimpleNamespace(logits=logits),
    ],
    ids=["tuple", "list", "dict", "object"],
)
def test_logits_are_taken_from_the_output(output):
    module = with_ending(output)
    program, pre_activations, logits = evaluate(module)
    torch.testing.assert_close(pre_activations, logits)
    assert program.classes == CLASSES


@pytest.mark.parametrize(
    ("ending", "activation"),
    [
        (lambda x: x, "identity"),
        (lambda x: torch.softmax(x, 1), "identity"),
        (lambda x: F.softmax(x, dim=-1), "identity"),
        (lambda x: F.log_softmax(x, dim=1), "identity"),
        (lambda x: torch.log(torch.softmax(x, dim=1)), "identity"),
        (torch.sigmoid, "sigmoid"),
        (lambda x: torch.softmax(torch.sigmoid(x), 1), "sigmoid"),
        (lambda x: F.log_softmax(torch.sigmoid(x), 1), "sigmoid"),
    ],
)
def test_pre_activations_are_found_before_the_ending(ending, activation):
    program, pre_activations, logits = evaluate(with_ending(ending))
    torch.testing.assert_close(pre_activations, logits)
    assert program.output_activation == activation


def test_softmax_over_another_dimension_is_no_ending():
    """Softmax over the images is no classifier's: it makes images depend on each other."""
    with pytest.raises(ExportError, match="other images of its batch"):
        export_program(with_ending(lambda x: torch.softmax(x, 0)), IMAGES[:1])


@pytest.mark.parametrize(
    "ending",
    [lambda z: z, torch.sigmoid, lambda z: torch.sigmoid(z).squeeze(1), lambda z: z[:, 0]],
    ids=["logit", "probability", "squeezed probability", "squeezed logit"],
)
def test_single_logit_becomes_two_classes(ending):
    program, pre_activations, logits = evaluate(with_ending(ending, classes=1))
    assert program.classes == 2
    assert program.output_activation == "identity"
    # softmax of both is the sigmoid of the logit.
    torch.testing.assert_close(pre_activations.softmax(1)[:, 1:], logits.sigmoid())


@pytest.mark.parametrize(
    "output",
    [lambda x: x[:, :, None, None].expand(-1, -1, 8, 8), lambda x: [{"boxes": x}]],
    ids=["segmentation", "detection"],
)
def test_outputs_that_are_no_class_scores_are_refused(output):
    with pytest.raises(ExportError, match="the module returns"):
        export_program(with_ending(output), IMAGES[:1])


# Steps


def _in_place(module, images):
    signal = module.conv(images)
    signal.add_(1)
    signal *= 2
    F.relu(signal, inplace=True)
    return signal


def _write_through_view(module, images):
    signal = module.conv(images)
    signal[:, :2] = 0
    return signal


def _constants_in_slices(module, images):
    mask = images.new_zeros(6, 6)
    mask[:3] = 1
    mask[2:, 1:].mul_(3)
    return module.conv(images) * mask


def _batch_sized_constants(module, images):
    offset = torch.zeros(images.shape[0], 6, 1, 1)
    return module.conv(images) + offset + torch.ones_like(offset)


def _two_fills(module, images):
    signal = module.conv(images)
    return signal + torch.full_like(signal, 2.0) * torch.full_like(signal, 3.0)


def _chunks(module, images):
    left, right = module.conv(images).chunk(2, 1)
    a, b, c = torch.unbind(left, 1)
    return torch.cat([right, torch.stack([c, b, a], 1)], 1)


def _same_padding(module, images):
    return F.conv2d(images, module.conv.weight[..., :2], None, padding="same")


def _standardized_weights(module, images):
    weight = module.conv.weight
    flat = F.batch_norm(weight.reshape(1, len(weight), -1), None, None, training=True)
    return F.conv2d(images, flat.reshape_as(weight), module.conv.bias)


def _counted_calls(module, images):
    module.calls.add_(1)
    return module.conv(images) * module.calls.clamp(max=1)


FEATURES = {
    "in-place": _in_place,
    "write through a view": _write_through_view,
    "constants written into": _constants_in_slices,
    "batch-sized constants": _batch_sized_constants,
    "two fills": _two_fills,
    "chunks": _chunks,
    "same padding": _same_padding,
    "standardized weights": _standardized_weights,
    "buffer that is written to": _counted_calls,
    "squeezes": lambda m, x: m.conv(x).unsqueeze(1).flatten(1, 2).unsqueeze(-1).squeeze(4),
    "max": lambda m, x: m.conv(x).max(1, keepdim=True).values + m.conv(x).amax((2, 3), True),
    "norms": lambda m, x: F.normalize(F.instance_norm(F.group_norm(m.conv(x), 3)), dim=1),
    "arithmetic": lambda m, x: 1 - 2 / (m.conv(x) ** 2 + 1) + (0.5 - m.conv(x)).clamp(min=0),
    "where": lambda m, x: torch.where(x[:, :1, 2:, 2:] > 0, m.conv(x), torch.tensor(0.5)),
    "interpolation": lambda m, x: F.interpolate(m.conv(x), scale_factor=2, mode="bilinear"),
    "einsum": lambda m, x: (
        torch.einsum("nchw,ck->nkhw", m.conv(x), m.fc.weight.t()[:, :1]) + 0 * m.conv(x)
    ),
    "padding": lambda m, x: F.pad(m.conv(x), (1, 2, 0, 1), mode="reflect"),
    "activations": lambda m, x: F.elu(F.leaky_relu(F.softplus(F.gelu(F.relu6(m.conv(x)))))),
    "detach": lambda m, x: m.conv(x) * m.conv(x).detach(),
    "double": lambda m, x: m.conv(x).double().exp().float(),
}


@pytest.mark.parametrize("name", FEATURES)
def test_steps_have_the_gradients_of_the_module(name):
    program = assert_same_gradients(with_features(FEATURES[name]))
    assert program.batch == "dynamic"


def test_module_called_twice_has_two_layers():
    class Shared(Classifier):
        def features(self, images):
            return self.relu(self.relu(self.conv(images)) - 0.2)

    program = assert_same_gradients(Shared())
    first, second = (layer for layer in find_layers(program) if "relu" in layer.name)
    assert (first.name, second.name) == ("relu", "relu@2")
    operators = [program.steps[layer.value - 1].operator for layer in (first, second)]
    assert operators == ["relu", "relu"]


def test_names_of_one_value_are_merged_under_the_shortest():
    class Nested(nn.Sequential):
        pass

    module = nn.Sequential()
    module.add_module("body", Nested(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Dropout())))
    module.add_module("pool", nn.AdaptiveAvgPool2d(1))
    module.add_module("head", nn.Sequential(nn.Flatten(), nn.Linear(6, CLASSES)))
    program = export_program(module, IMAGES[:1]).program
    layer = find_layers(program)[-1]
    assert layer.name == "body"
    assert set(layer.aliases) == {"body.0", "body.0.1", "body.0.2"}
    assert program.default_layer == "body"


def test_layer_before_an_in_place_call_has_its_value_before_the_call():
    class InPlace(Classifier):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU(inplace=True)

    module = InPlace()
    export = export_program(module, IMAGES[:1])
    network = ProgramNetwork(export.program, export.tensors(module))
    conv, relu = find_layers(export.program)
    activations, _ = network.split(conv.value).below(IMAGES)
    assert (activations < 0).any()
    torch.testing.assert_close(activations, F.conv2d(IMAGES, module.conv.weight, module.conv.bias))
    assert relu.value == conv.value + 1


def test_weights_of_later_epochs_fit_the_program():
    module = Classifier()
    export = export_program(module, IMAGES[:1])
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(-0.5)
    network = ProgramNetwork(export.program, export.tensors(module))
    torch.testing.assert_close(network(IMAGES), module(IMAGES))


def test_loop_over_the_batch_is_exported_for_a_batch_of_one():
    def loop(module, images):
        return torch.cat([module.conv(image[None]) for image in images])

    module = with_features(loop)
    program = assert_same_gradients(module)
    assert program.batch == 1


def test_single_logit_of_one_image_at_a_time_becomes_two_classes():
    class Loop(Classifier):
        def features(self, images):
            return torch.cat([self.conv(image[None]) for image in images])

    program, pre_activations, logits = evaluate(Loop(classes=1))
    assert program.batch == 1
    torch.testing.assert_close(pre_activations.softmax(1)[:, 1:], logits.sigmoid())


def test_softmax_of_converted_logits_is_an_ending():
    _, pre_activations, logits = evaluate(with_ending(lambda x: x.double().softmax(1).float()))
    torch.testing.assert_close(pre_activations, logits)


def test_module_of_an_unusual_name_is_no_layer():
    class Unusual(Classifier):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleDict({"my relu; x": nn.ReLU()})

        def features(self, images):
            return self.parts["my relu; x"](self.conv(images))

    program = export_program(Unusual(), IMAGES[:1]).program
    assert [layer.name for layer in find_layers(program)] == ["conv"]


def test_branch_on_the_batch_size_is_exported_for_a_batch_of_one():
    def branch(module, images):
        return module.conv(images) * (2 if images.shape[0] > 4 else 1)

    export = export_program(with_features(branch), IMAGES[:1])
    assert export.program.batch == 1


def test_casts_of_autocast_are_steps():
    def cast(module, images):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return module.conv(images).float()

    module = with_features(cast)
    export = export_program(module, IMAGES[:1])
    assert "bfloat16" in str(export.program.to_json())
    pre_activations = ProgramNetwork(export.program, export.tensors(module))(IMAGES)
    torch.testing.assert_close(pre_activations, module(IMAGES))


def test_export_leaves_the_module_as_it_was():
    module = Classifier().train()
    module.relu.eval()
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    export_program(module, IMAGES[:1])
    assert module.training
    assert not module.relu.training
    assert all(torch.equal(state[name], t) for name, t in module.state_dict().items())


def test_wrapper_of_parallel_modules_is_left_out():
    module = nn.DataParallel(Classifier())
    export = export_program(module, IMAGES[:1])
    assert set(export.tensors(module)) == {"conv.weight", "conv.bias", "fc.weight", "fc.bias"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_module_of_another_type_is_evaluated_in_it(dtype):
    module = Classifier().to(dtype)
    export = export_program(module, IMAGES[:1])
    pre_activations = ProgramNetwork(export.program, export.tensors(module))(IMAGES)
    assert pre_activations.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(pre_activations, module(IMAGES.to(dtype)).float())
