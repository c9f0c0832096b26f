"""The network of a run: exported once, and its weights taken at each epoch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from camreel.errors import CannotExport, ConstantWeights, ModelChanged
from camreel.program import ExportError, Program, export_program
from camreel.program.errors import BakedWeights
from camreel.recorder import modules
from camreel.spool.epoch_files import TensorForm, write_tensors

WeightsSource = Callable[[], nn.Module | Mapping[str, Tensor]]

WEIGHT_TYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Types that float32 weights can be rounded to; None: not at all."""

DTYPE_CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class RecordedNetwork:
    """A network in training, and the program that describes it."""

    network: nn.Module
    program: Program
    constants: Mapping[str, Tensor]
    signature: modules.Signature
    weights_from: WeightsSource | None
    rounding: torch.dtype | None

    @classmethod
    def export(
        cls,
        model: nn.Module,
        images: Tensor,
        *,
        weights: str = "float32",
        weights_from: WeightsSource | None = None,
    ) -> "RecordedNetwork":
        """Export a network, which is afterwards as before, as are torch's random states.

        Raises UnsupportedWrapper, CannotExport and ConstantWeights.
        """
        if weights not in WEIGHT_TYPES:
            raise ValueError(f"weights: must be one of {', '.join(WEIGHT_TYPES)}")
        network = modules.unwrap(model)
        try:
            with _undisturbed(network), modules.without_compiled_submodules(network):
                export = export_program(network, images)
        except BakedWeights as error:
            raise ConstantWeights(str(error)) from error
        except ExportError as error:
            raise CannotExport(str(error)) from error
        return cls(
            network,
            export.program,
            export.constants,
            modules.signature(network),
            weights_from,
            WEIGHT_TYPES[weights],
        )

    def tensors(self) -> dict[str, Tensor]:
        """The program's tensors by name: the live weights, not copied. Raises ModelChanged."""
        change = modules.difference(self.signature, modules.signature(self.network))
        if change is not None:
            raise ModelChanged(f"the network has changed since it was exported: {change}")
        available = {**modules.weights_by_name(self.network), **self.constants}
        if self.weights_from is not None:
            available |= self._other_weights(self.weights_from())
        tensors = {}
        for spec in self.program.tensors:
            tensor = available[spec.name]
            if tuple(tensor.shape) != spec.shape:
                raise ModelChanged(
                    f"{spec.name} has the shape {tuple(tensor.shape)}, and had {spec.shape}"
                )
            tensors[spec.name] = tensor.detach()
        return tensors

    def forms(self, tensors: Mapping[str, Tensor]) -> dict[str, TensorForm]:
        """Type and shape of each tensor as it is stored."""
        return {
            name: TensorForm(DTYPE_CODES[self._stored_type(tensor)], tuple(tensor.shape))
            for name, tensor in tensors.items()
        }

    def write(
        self, file: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
    ) -> None:
        """Write the live weights. When it returns, nothing of the tensors is read any more."""

        def elements(name: str) -> NDArray[np.uint8]:
            tensor = tensors[name].to(self._stored_type(tensors[name]))
            # `cpu` waits until a GPU has computed and copied the tensor.
            tensor = tensor.cpu().contiguous().reshape(-1)
            elements: NDArray[np.uint8] = tensor.view(torch.uint8).numpy()
            return elements

        write_tensors(file, self.forms(tensors), elements, metadata)

    def _stored_type(self, tensor: Tensor) -> torch.dtype:
        is_rounded = self.rounding is not None and tensor.dtype == torch.float32
        return self.rounding if is_rounded and self.rounding is not None else tensor.dtype

    def _other_weights(self, source: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a network or state dict of the same names. Raises ModelChanged.

        Buffers may be missing, as in averages of parameters alone.
        """
        if isinstance(source, nn.Module):
            source = modules.weights_by_name(modules.unwrap(source))
        weights = modules.clean_state(source)
        names = {spec.name for spec in self.program.tensors} - self.constants.keys()
        parameters = dict(self.network.named_parameters(remove_duplicate=False))
        required_names = names & {modules.clean_name(name) for name in parameters}
        if not required_names <= weights.keys():
            weights = {name.removeprefix("module."): t for name, t in weights.items()}
        if missing_names := sorted(required_names - weights.keys()):
            raise ModelChanged(f"weights_from returns no weight {missing_names[0]}")
        return {name: weights[name] for name in names & weights.keys()}


def as_images(probes: Any, transform: Callable[[Any], Any] | None) -> Tensor:
    """Probes as the network gets them: float32 (N, D, H, W) on the CPU.

    A tensor or array of floating-point numbers, or a list of tensors, of arrays, or of images that
    `transform` makes tensors of. Raises ValueError.
    """
    if not isinstance(probes, Tensor | np.ndarray):
        items = list(probes)
        if transform is not None and not any(isinstance(i, Tensor | np.ndarray) for i in items):
            items = [transform(item) for item in items]
        if not items:
            raise ValueError("probes: at least one image is required")
        if not all(isinstance(item, Tensor | np.ndarray) for item in items):
            raise ValueError("probes: must be tensors, or images with `transform=`")
        shapes = {tuple(item.shape) for item in items}
        if len(shapes) > 1:
            raise ValueError(f"probes: must have one shape, not {sorted(shapes)}")
        probes = torch.stack([torch.as_tensor(item) for item in items])
    images = torch.as_tensor(probes).detach().cpu()
    if not images.is_floating_point():
        raise ValueError("probes: must be what the network gets: floating-point numbers")
    if images.ndim != 4 or len(images) == 0 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"probes: must have the shape (N, 1 or 3, H, W), not {tuple(images.shape)}"
        )
    return images.float().contiguous()


def as_array(images: Tensor) -> NDArray[np.float32]:
    """The same numbers as an array."""
    return images.numpy()


@contextmanager
def _undisturbed(network: nn.Module) -> Iterator[None]:
    """Keep random states and buffers, which some modules change even in evaluation mode, and leave
    automatic casts: a program has none.
    """
    devices = {tensor.device for tensor in network.parameters()}
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    cuda_devices = [device for device in devices if device.type == "cuda"]
    device_types = {"cpu", *(device.type for device in devices)}
    with ExitStack() as last_to_first:
        last_to_first.callback(_restore, buffers)
        last_to_first.enter_context(torch.random.fork_rng(devices=cuda_devices))
        for device_type in sorted(device_types & {"cpu", "cuda"}):
            last_to_first.enter_context(torch.autocast(device_type, enabled=False))
        yield


def _restore(buffers: Sequence[tuple[Tensor, Tensor]]) -> None:
    with torch.no_grad():
        for buffer, copy in buffers:
            # Not written to unless it has changed: a pending graph may hold it.
            if not torch.equal(buffer, copy):
                buffer.copy_(copy)
