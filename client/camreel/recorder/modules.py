"""The network inside wrappers, and what identifies it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from camreel.errors import UnsupportedWrapper

COMPILED = "_orig_mod"
"""Attribute of a compiled module that holds the module."""

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)
_SHARDED = frozenset({"FullyShardedDataParallel", "FSDPModule", "DeepSpeedEngine", "PipelineStage"})

Signature = Mapping[str, str]
"""The type of each module, and type and shape of each weight, by name."""


def unwrap(model: nn.Module) -> nn.Module:
    """The network inside compiled, parallel and averaged modules. Raises UnsupportedWrapper."""
    if not isinstance(model, nn.Module):
        raise UnsupportedWrapper(f"model: must be a torch.nn.Module, not {type(model).__name__}")
    while True:
        if isinstance(model, torch.jit.ScriptModule):
            raise UnsupportedWrapper("a ScriptModule: pass the module that it was made of")
        if _SHARDED & {base.__name__ for base in type(model).__mro__}:
            raise UnsupportedWrapper(
                f"{type(model).__name__} holds a part of the weights in each process: pass "
                "`weights_from=` with a function that gathers them, and an unsharded module"
            )
        inner = model.module if isinstance(model, _WRAPPERS) else getattr(model, COMPILED, None)
        if not isinstance(inner, nn.Module):
            break
        model = inner
    for name, weight in model.named_parameters():
        if weight.is_meta or type(weight.data) not in (Tensor, nn.Parameter):
            raise UnsupportedWrapper(f"{name} is a {type(weight.data).__name__} without data here")
    return model


def weights_by_name(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by the names that they have without compiled submodules."""
    return {
        clean_name(name): tensor
        for weights in (network.named_parameters, network.named_buffers)
        for name, tensor in weights(remove_duplicate=False)
    }


def clean_name(name: str) -> str:
    """A name without the attributes of compiled modules."""
    return ".".join(part for part in name.split(".") if part != COMPILED)


def clean_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict by names without the attributes of compiled modules."""
    return {clean_name(name): tensor for name, tensor in state.items()}


def signature(network: nn.Module) -> Signature:
    """What must not change between epochs: values of weights may, and `requires_grad`."""
    entries = {
        clean_name(name): _type_name(module)
        for name, module in network.named_modules()
        if not hasattr(module, COMPILED)
    }
    for name, tensor in weights_by_name(network).items():
        entries[f"weight {name}"] = f"{tensor.dtype} {tuple(tensor.shape)}"
    return entries


def difference(previous: Signature, current: Signature) -> str | None:
    """The first difference of two signatures as a sentence; None if they are equal."""
    for name in previous:
        if name not in current:
            return f"{name or 'the network'} is no longer there"
        if previous[name] != current[name]:
            return f"{name or 'the network'} was {previous[name]} and is {current[name]}"
    for name in current:
        if name not in previous:
            return f"{name} is new"
    return None


@contextmanager
def without_compiled_submodules(network: nn.Module) -> Iterator[None]:
    """Put the modules themselves in the place of their compiled forms during a `with` block."""
    exchanges = [
        (parent, name, child)
        for parent in network.modules()
        if not hasattr(parent, COMPILED)
        for name, child in parent.named_children()
        if hasattr(child, COMPILED)
    ]
    try:
        for parent, name, child in exchanges:
            parent._modules[name] = getattr(child, COMPILED)  # noqa: SLF001  not setattr, which
            # a module may have overridden
        yield
    finally:
        for parent, name, child in exchanges:
            parent._modules[name] = child  # noqa: SLF001


def _type_name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
