"""What training needs, besides the network, to go on: the optimiser's state. Never pickle."""

import json
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from service.core.checkpoints import require_type
from service.core.models import StagedNetwork
from service.errors import CheckpointCorrupt

METADATA_KEY = "camreel"


@dataclass(frozen=True)
class TrainingState:
    """Where training stands after `epoch`: what `train` goes on from.

    All that is random in an epoch comes from (seed, epoch), and so does the order of its images;
    a rate that changed with time would be a function of the epoch. So nothing else is needed.
    """

    epoch: int
    network: bytes  # the epoch's checkpoint
    optimizer: bytes  # as `encode_optimizer` gives it


def encode_optimizer(optimizer: torch.optim.Optimizer, epoch: int) -> bytes:
    """The optimiser's tensors, and its scalars as JSON, as safetensors bytes."""
    tensors: dict[str, torch.Tensor] = {}
    scalars: dict[str, int | float | bool | None] = {}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                # A tensor of its own: safetensors refuses two that share memory.
                tensors[f"{index}.{name}"] = (
                    value.detach().cpu().clone(memory_format=torch.contiguous_format)
                )
            else:
                scalars[f"{index}.{name}"] = value
    header = json.dumps({"format": 1, "epoch": epoch, "scalars": scalars})
    return bytes(save(tensors, {METADATA_KEY: header}))


def restore_training_state(
    state: TrainingState, network: StagedNetwork, optimizer: torch.optim.Optimizer
) -> None:
    """Put network and optimiser, as freshly built, back to where they stood, bit for bit.

    Raises CheckpointCorrupt when the bytes are not theirs.
    """
    try:
        network.load_state_dict(load(state.network))
        values = _optimizer_values(state)
        _check_shapes(values, optimizer)
        optimizer.load_state_dict(
            {
                "state": values,
                # Rates and decays are the spec's, and the optimiser was built from it.
                "param_groups": optimizer.state_dict()["param_groups"],
            }
        )
    except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise CheckpointCorrupt("The training state does not fit its run.") from error


def _check_shapes(values: dict[int, dict[str, object]], optimizer: torch.optim.Optimizer) -> None:
    """What belongs to a parameter is of its shape, or one number: torch itself would not mind."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    for index, of_one in values.items():
        shape = parameters[index].shape if 0 <= index < len(parameters) else None
        for value in of_one.values():
            if isinstance(value, torch.Tensor) and value.dim() and value.shape != shape:
                raise ValueError("a tensor of another network's optimiser")


def _optimizer_values(state: TrainingState) -> dict[int, dict[str, object]]:
    header = _header(state.optimizer)
    if require_type(int, header["epoch"]) != state.epoch:
        raise ValueError("another epoch's state")
    flat: dict[str, object] = dict(header["scalars"])
    for key, tensor in load(state.optimizer).items():
        # As the parameters lie in memory, so that the same code runs over them.
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
