"""A module as a program: exported by torch.export, translated, and compared with the module."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from camreel.program.constants import CONSTANT_PREFIX, find_baked_weight
from camreel.program.default_layer import choose_default_layer
from camreel.program.draft import Draft
from camreel.program.endings import Ending, find_ending
from camreel.program.errors import BakedWeights, ExportError, InvalidProgram
from camreel.program.format import Batch, Program
from camreel.program.interpreter import ProgramNetwork
from camreel.program.layers import find_layers
from camreel.program.modules import locate_modules
from camreel.program.references import BatchMultiple, Shape, TensorReference, ValueReference
from camreel.program.symbolic_sizes import BatchDependence
from camreel.program.translation import NotFunctional, Translator, UnsupportedNode

MAX_BATCH = 4096
TOLERANCE = 1e-4
"""Greatest difference of the program's results from the module's, relative to their peak."""
HALF_TOLERANCE = 2e-2
"""The same for modules of 16-bit numbers."""

_PREFIX = "network."


@dataclass(frozen=True)
class Export:
    """A program, and the constants that the module does not hold."""

    program: Program
    constants: Mapping[str, Tensor]

    def tensors(self, module: nn.Module) -> dict[str, Tensor]:
        """The program's tensors by name: the module's present weights, and the constants.

        They are detached and share memory with the module's.
        """
        available = {**_weights(unwrapped(module)), **self.constants}
        return {spec.name: available[spec.name].detach() for spec in self.program.tensors}


def export_program(module: nn.Module, example_images: Tensor) -> Export:
    """Describe a classifier in evaluation mode as a program.

    `example_images` float32 (N, D, H, W) have the network's input size. The module may return
    logits (N, C), a tuple or list of which they are the first, a dictionary with `logits`, or an
    object with this attribute. Afterwards the module is as before. Raises ExportError.
    """
    if example_images.ndim != 4 or example_images.dtype != torch.float32:
        raise ExportError("example images must be float32 of shape (N, D, H, W)")
    network = unwrapped(module)
    dtype, device = _placement(network)
    classifier = _Classifier(network, dtype)
    images = _distinct_images(example_images.to(device))
    with _evaluation_mode(network), torch.no_grad():
        outputs = _call(classifier, images)
        _check_batch(classifier, images, outputs)
        try:
            return _attempt(classifier, images, outputs, "dynamic")
        except BakedWeights:
            raise
        except (ExportError, BatchDependence):
            # An error of the module itself repeats.
            try:
                return _attempt(classifier, images, outputs, 1)
            except BatchDependence:
                raise ExportError("images of a batch influence each other") from None


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside wrappers of parallel and compiled modules."""
    if isinstance(module, torch.jit.ScriptModule):
        raise ExportError("a ScriptModule cannot be exported: pass the module that it was made of")
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while isinstance(module, wrappers) or hasattr(module, "_orig_mod"):
        inner = module.module if isinstance(module, wrappers) else module._orig_mod  # noqa: SLF001
        assert isinstance(inner, nn.Module)  # noqa: S101
        module = inner
    return module


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {
        **dict(network.named_parameters(remove_duplicate=False)),
        **dict(network.named_buffers(remove_duplicate=False)),
    }


class _Classifier(nn.Module):
    """A network of which only the logits are returned."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self._dtype = dtype

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers of the network, by name."""
        return _weights(self.network)

    def forward(self, images: Tensor) -> Tensor:
        """What the network returns as its logits."""
        return _logits_of(self.network(images.to(self._dtype)))


def _logits_of(output: Any) -> Tensor:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping) and "logits" in output:
        return _logits_of(output["logits"])
    if isinstance(output, tuple | list) and output and not hasattr(output, "logits"):
        return _logits_of(output[0])
    if hasattr(output, "logits"):
        return _logits_of(output.logits)
    raise ExportError(
        f"the module returns {type(output).__name__}: logits, a tuple that begins with them, "
        "a dictionary or an object with `logits` are required"
    )


def _placement(network: nn.Module) -> tuple[torch.dtype, torch.device]:
    """Type and device of a network's weights."""
    for tensor in _weights(network).values():
        if tensor.is_floating_point():
            return tensor.dtype, tensor.device
    return torch.float32, torch.device("cpu")


def _distinct_images(images: Tensor) -> Tensor:
    """Three images that differ: the examples, repeated with their pixels moved."""
    if len(images) == 0:
        raise ExportError("an example image is required")
    rolled = [images[:1].roll(shift, dims=(2, 3))[:1] for shift in ((1, 2), (2, 1))]
    return torch.cat([images, *rolled])[:3].contiguous() if len(images) < 3 else images[:3]


@contextmanager
def _evaluation_mode(network: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _call(classifier: nn.Module, images: Tensor) -> Tensor:
    """What the module returns for each of the images."""
    try:
        outputs = [classifier(image) for image in torch.split(images, 1)]
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(_reason(error), _user_line(error)) from error
    if any(output.ndim > 2 or output.numel() == 0 for output in outputs):
        raise ExportError(
            f"the module returns {tuple(outputs[0].shape)} for an image: class scores of shape "
            "(N, C) are required, not maps, boxes or several scores for each class"
        )
    return torch.cat([output.reshape(1, -1) for output in outputs])


def _check_batch(classifier: nn.Module, images: Tensor, outputs: Tensor) -> None:
    """Raises ExportError if images influence each other. A module may take one at a time only."""
    try:
        batch = classifier(images)
    except Exception:
        return
    peak = float(outputs.abs().max())
    if batch.numel() != outputs.numel() or not torch.allclose(
        batch.reshape(outputs.shape), outputs, rtol=0, atol=HALF_TOLERANCE * max(peak, 1e-6)
    ):
        raise ExportError(
            "the module's result for an image depends on the other images of its batch"
        )


def _attempt(classifier: "_Classifier", images: Tensor, outputs: Tensor, batch: Batch) -> Export:
    draft, constants = _draft(classifier, images[:2] if batch == "dynamic" else images[:1], batch)
    ending = find_ending(draft.steps, draft.output)
    draft = Draft(draft.steps, ending.value, draft.modules)
    if outputs.shape[1] == 1:
        draft, constants = _two_classes(draft, constants, images.device, batch)
    if classifier._dtype != torch.float32:  # noqa: SLF001  of this module
        draft = draft.append("to_dtype", input=ValueReference(draft.output), dtype="float32")
    draft = draft.prune()
    try:
        program = draft.finish(
            input_shape=(images.shape[1], images.shape[2], images.shape[3]),
            batch=batch,
            output_activation=ending.output_activation if outputs.shape[1] > 1 else "identity",
            tensors={**_weights(classifier.network), **constants},
        )
    except InvalidProgram as error:
        raise ExportError(str(error)) from error
    program = _with_classes(program)
    weights = classifier.weights()
    if weights and not weights.keys() & program.tensors_by_name.keys():
        raise BakedWeights("no weight of the module is an input of the exported graph")
    constants = {n: t for n, t in constants.items() if n in program.tensors_by_name}
    export = Export(program, {name: tensor.cpu() for name, tensor in constants.items()})
    network = _verify(export, ending, classifier, images, outputs)
    default_layer = choose_default_layer(network, find_layers(program))
    return replace(export, program=_checked(replace(program, default_layer=default_layer)))


def _checked(program: Program) -> Program:
    """The program as a server reads it. Raises ExportError if no server would accept it."""
    try:
        return Program.from_json(program.to_json())
    except InvalidProgram as error:
        raise ExportError(str(error)) from error


def _with_classes(program: Program) -> Program:
    shape = program.shapes[program.logits]
    first = BatchMultiple(1) if program.batch == "dynamic" else 1
    if len(shape) != 2 or shape[0] != first or not isinstance(shape[1], int):
        raise ExportError(f"the pre-activations have the shape {_text(shape)} instead of (N, C)")
    return replace(program, classes=shape[1])


def _text(shape: Shape) -> str:
    sizes = (
        ("N" if s.factor == 1 else f"{s.factor} N") if isinstance(s, BatchMultiple) else str(s)
        for s in shape
    )
    return f"({', '.join(sizes)})"


def _draft(
    classifier: "_Classifier", images: Tensor, batch: Batch
) -> tuple[Draft, dict[str, Tensor]]:
    exported = _exported(classifier, images, batch)
    baked_weight = find_baked_weight(exported, classifier.weights())
    if baked_weight is not None:
        raise BakedWeights(f"the weights are constants of the exported graph: {baked_weight}")
    try:
        try:
            translation = Translator(exported, _PREFIX).translate()
        except NotFunctional:
            # Functionalization makes copies of what is written into.
            exported = exported.run_decompositions({})
            translation = Translator(exported, _PREFIX).translate()
    except NotFunctional:
        raise ExportError("a tensor is written into while views of it are read") from None
    except UnsupportedNode as error:
        raise ExportError(str(error), _line_of(error.node)) from None
    modules = locate_modules(exported.graph, translation.values, _PREFIX)
    return Draft(translation.steps, translation.output.index, modules), translation.constants


def _exported(classifier: nn.Module, images: Tensor, batch: Batch) -> ExportedProgram:
    shapes = {"images": {0: Dim("batch", min=1, max=MAX_BATCH)} if batch == "dynamic" else None}
    try:
        # With gradients, so that parts without them show in the graph.
        with torch.enable_grad():
            return torch.export.export(classifier, (images,), dynamic_shapes=shapes, strict=False)
    except Exception as error:
        raise ExportError(_reason(error), _user_line(error)) from error


def _two_classes(
    draft: Draft, constants: dict[str, Tensor], device: torch.device, batch: Batch
) -> tuple[Draft, dict[str, Tensor]]:
    """One logit z as two classes, x = (-z/2, z/2): their softmax is sigmoid(z) for the second."""
    name = f"{CONSTANT_PREFIX}{len(constants)}"
    signs = torch.tensor([[-0.5, 0.5]], device=device)
    images = BatchMultiple(1) if batch == "dynamic" else 1
    draft = draft.append("reshape", input=ValueReference(draft.output), shape=(images, 1)).append(
        "mul", input=ValueReference(len(draft.steps) + 1), other=TensorReference(name)
    )
    return draft, {**constants, name: signs}


def _verify(
    export: Export, ending: Ending, classifier: "_Classifier", images: Tensor, outputs: Tensor
) -> ProgramNetwork:
    """Compare with the module at two batch sizes, and images of a batch with each other."""
    tensors = {
        name: tensor.to(images.device)
        for name, tensor in export.tensors(classifier.network).items()
    }
    network = ProgramNetwork(export.program, tensors)
    half = classifier._dtype in (torch.float16, torch.bfloat16)  # noqa: SLF001
    tolerance = HALF_TOLERANCE if half else TOLERANCE
    for count in (2, 3) if export.program.batch == "dynamic" else (1,):
        results = _returned(network(images[:count]), ending, outputs)
        difference = (results - outputs[:count]).abs().max()
        peak = max(float(outputs.abs().max()), 1e-6)
        if not difference <= tolerance * peak:
            raise ExportError(
                f"the program's results differ from the module's by {difference / peak:.2g} of "
                f"their peak for {count} images"
            )
    if export.program.batch == "dynamic":
        _check_independence(network, images)
    return network


def _returned(pre_activations: Tensor, ending: Ending, outputs: Tensor) -> Tensor:
    """What the module returns for pre-activations, in the shape of its outputs (N, C)."""
    if outputs.shape[1] == 1:
        logit = pre_activations[:, 1:] - pre_activations[:, :1]
        return ending.apply(logit)
    return ending.apply(pre_activations)


def _check_independence(network: ProgramNetwork, images: Tensor) -> None:
    """Raises BatchDependence unless each image has rows of its own in every value."""
    indices = tuple(range(1, len(network.program.steps) + 1))
    left = network.values(images[:2], indices)
    right = network.values(images[[0, 2]], indices)
    first = torch.zeros(1, dtype=torch.int64)
    for index in indices:
        layout = network.layouts[index]
        if layout is None:
            continue
        result, repetition = (
            layout.select(values[index], first).float() for values in (left, right)
        )
        scale = max(1.0, float(result.abs().max()))
        if not torch.allclose(result, repetition, rtol=1e-3, atol=1e-4 * scale, equal_nan=True):
            raise BatchDependence


# Errors


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


_TORCH = str(Path(torch.__file__).parent)
_THIS_PACKAGE = str(Path(__file__).parent)


def _user_line(error: BaseException) -> str | None:
    """The innermost line that belongs to neither torch nor this package."""
    frames = traceback.extract_tb(error.__traceback__)
    cause = error.__cause__ or error.__context__
    lines = [f"{f.filename}:{f.lineno}" for f in frames if _is_users(f.filename)]
    if lines:
        return lines[-1]
    return _user_line(cause) if cause is not None else None


def _line_of(node: torch.fx.Node) -> str | None:
    lines = []
    for line in (node.meta.get("stack_trace") or "").splitlines():
        parts = line.strip().split('"')
        if len(parts) == 3 and _is_users(parts[1]):
            lines.append(f"{parts[1]}:{parts[2].split()[2].rstrip(',')}")
    return lines[-1] if lines else None


def _is_users(filename: str) -> bool:
    return not filename.startswith((_TORCH, _THIS_PACKAGE, "<"))
