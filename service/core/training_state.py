"""The state that training is resumed from: network and optimizer. Never pickle."""

import json
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from service.core.checkpoints import require_type
from service.errors import CheckpointCorrupt

METADATA_KEY = "camreel"


@dataclass(frozen=True)
class TrainingState:
    """The state of training after `epoch`, from which `train` resumes.

    An epoch's random numbers and the order of its images depend on (seed, epoch) alone, so the
    state needs no generator.
    """

    epoch: int
    network: bytes  # the epoch's checkpoint
    optimizer: bytes  # from `encode_optimizer`


def encode_optimizer(optimizer: torch.optim.Optimizer, epoch: int) -> bytes:
    """The optimizer's tensors, and its scalars as JSON, as safetensors bytes."""
    tensors: dict[str, torch.Tensor] = {}
    scalars: dict[str, int | float | bool | None] = {}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                # A copy: safetensors rejects tensors that share memory.
                tensors[f"{index}.{name}"] = (
                    value.detach().cpu().clone(memory_format=torch.contiguous_format)
                )
            else:
                scalars[f"{index}.{name}"] = value
    header = json.dumps({"format": 1, "epoch": epoch, "scalars": scalars})
    return bytes(save(tensors, {METADATA_KEY: header}))


def restore_training_state(
    state: TrainingState, network: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Restore a newly built network and optimizer, bit for bit.

    Raises CheckpointCorrupt for a state that does not fit them.
    """
    try:
        network.load_state_dict(load(state.network))
        values = _optimizer_values(state)
        _check_shapes(values, optimizer)
        optimizer.load_state_dict(
            {
                "state": values,
                # Rates and decays come from the spec that the optimizer was built from.
                "param_groups": optimizer.state_dict()["param_groups"],
            }
        )
    except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise CheckpointCorrupt("The training state does not fit its run.") from error


def _check_shapes(values: dict[int, dict[str, object]], optimizer: torch.optim.Optimizer) -> None:
    """Raises ValueError for a state of another shape than its parameter: torch accepts any."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, parameter_state in values.items():
        shape = parameters[index].shape if 0 <= index < len(parameters) else None
        for value in parameter_state.values():
            if isinstance(value, torch.Tensor) and value.dim() and value.shape != shape:
                raise ValueError("a tensor of another network's optimizer")


def _optimizer_values(state: TrainingState) -> dict[int, dict[str, object]]:
    header = _header(state.optimizer)
    if require_type(int, header["epoch"]) != state.epoch:
        raise ValueError("another epoch's state")
    flat: dict[str, object] = dict(header["scalars"])
    for key, tensor in load(state.optimizer).items():
        # In the memory format of the parameters, so that the same kernels run.
        fit = tensor.to(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
        flat[key] = fit
    values: dict[int, dict[str, object]] = {}
    for key, value in flat.items():
        index, _, name = key.partition(".")
        values.setdefault(int(index), {})[name] = value
    return values


def _header(data: bytes) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(
        json.loads(data[8 : 8 + size])["__metadata__"][METADATA_KEY]
    )
    return header
