"""Checkpoints as a run: each is loaded into the user's network and recorded as an epoch."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from camreel.checkpoints.reading import CheckpointRefused, find_weights, read_checkpoint
from camreel.recorder import Recorder

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})


@dataclass(frozen=True)
class CheckpointImport:
    """What was made of some files."""

    spool: Path
    locations: Mapping[Path, str]
    """Where in each file the weights were, by the order of the epochs."""
    refusals: Mapping[Path, str]
    """Why other files did not fit."""
    stand_ins: frozenset[str]
    """Names of classes in the files that were not loaded."""


def import_checkpoints(
    network: nn.Module,
    paths: Sequence[Path],
    *,
    on_progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> CheckpointImport:
    """Record each checkpoint as an epoch, in a spool; `options` are those of `Recorder`.

    Files are ordered by the epochs that they state; those without are ordered by name. Raises
    CheckpointRefused if no file fits, and the errors of Recorder.
    """
    candidates: list[tuple[int, str, Path, Any]] = []
    refusals: dict[Path, str] = {}
    stand_ins: set[str] = set()
    for path in sorted(paths):
        try:
            # Only its epoch: all of them may not fit in memory.
            checkpoint = read_checkpoint(path)
            location = find_weights(checkpoint, network.state_dict()).location
        except CheckpointRefused as error:
            refusals[path] = str(error)
            continue
        epoch = checkpoint.epoch
        candidates.append((len(candidates) if epoch is None else epoch, str(path), path, location))
        stand_ins.update(checkpoint.stand_ins)
    candidates.sort(key=lambda candidate: candidate[:2])
    if not candidates:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in refusals.items())
        raise CheckpointRefused(f"no checkpoint fits the network. {reasons}")
    locations: dict[Path, str] = {}
    with Recorder(network, strict=True, **options) as recorder:
        last_epoch = -1
        for position, (epoch, _, path, location) in enumerate(candidates):
            if epoch == last_epoch:
                refusals[path] = f"another file is epoch {epoch} already"
                continue
            weights = find_weights(read_checkpoint(path), network.state_dict()).weights
            network.load_state_dict(weights, strict=False)
            recorder.epoch(number=epoch)
            locations[path], last_epoch = location, epoch
            if on_progress is not None:
                on_progress(position + 1, len(candidates))
    spool = recorder.status.spool
    assert spool is not None  # noqa: S101  this process is the only one
    return CheckpointImport(spool, locations, refusals, frozenset(stand_ins))


def load_factory(reference: str) -> nn.Module:
    """The network that `package.module:factory` returns; the working folder is searched too.

    Raises ValueError.
    """
    module_name, _, name = reference.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        factory = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"--model: {reference} cannot be imported: {error}") from error
    finally:
        sys.path.pop(0)
    network = factory()
    if not isinstance(network, nn.Module):
        message = f"--model: {reference} returns a {type(network).__name__}, not a module"
        raise ValueError(message)  # noqa: TRY004  as documented
    return network


def load_pictures(
    folder: Path,
    classes: Sequence[str],
    size: tuple[int, int],
    *,
    mean: Sequence[float],
    std: Sequence[float],
) -> tuple[Tensor, list[int] | None]:
    """Pictures of a folder as the network gets them, (N, D, H, W), and their classes.

    Gray with one value in `mean`, otherwise color. A picture's class is the name of its folder;
    None unless all have one. Raises ValueError.
    """
    from PIL import Image

    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise ValueError(f"--images: {folder} contains no pictures")
    height, width = size
    pixels = []
    for path in paths:
        with Image.open(path) as image:
            converted = image.convert("L" if len(mean) == 1 else "RGB")
            levels = np.asarray(converted.resize((width, height), Image.Resampling.BILINEAR))
        pixels.append(torch.from_numpy(levels.reshape(height, width, -1).copy()).permute(2, 0, 1))
    images = torch.stack(pixels).float() / 255
    mean_levels, std_levels = (torch.tensor(v).view(-1, 1, 1) for v in (mean, std))
    names = [path.parent.name for path in paths]
    labels = [classes.index(name) for name in names] if {*names} <= {*classes} else None
    return (images - mean_levels) / std_levels, labels
