"""The spool of a new run: what is known before its first epoch."""

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camreel.program import Program
from camreel.recorder import pictures
from camreel.recorder.options import RecorderOptions
from camreel.spool.folder import Probe, RunDescription, Spool, new_folder


def create_spool(
    options: RecorderOptions, program: Program, images: NDArray[np.float32], root: Path
) -> Spool:
    """A spool in a new folder of `root`. Raises ValueError with the option that is wrong."""
    normalization = pictures.find_normalization(
        images, options.mean, options.std, options.transform
    )
    levels = normalization.levels(images)
    labels = _labels(options, program, len(images))
    classes = list(options.classes or [str(index) for index in range(program.classes)])
    if len(classes) != program.classes:
        raise ValueError(
            f"classes: must be {program.classes} names, as many as the network has outputs"
        )
    description = RunDescription(
        recording_id=str(uuid.uuid4()),
        class_names=classes,
        input=normalization.input_spec(*program.input_shape[1:]),
        name=options.name,
        tags=list(options.tags),
        config=_as_json(options.config),
        epochs=options.epochs,
        weights=options.weights,
    )
    probes = [
        Probe(pictures.encode_png(picture), label)
        for picture, label in zip(levels, labels, strict=True)
    ]
    return Spool.create(new_folder(root, options.name), description, program.to_json(), probes)


def _labels(options: RecorderOptions, program: Program, count: int) -> list[int | None]:
    if count > pictures.MAX_PROBES:
        raise ValueError(f"probes: must be at most {pictures.MAX_PROBES} images")
    if options.labels is None:
        return [None] * count
    labels: list[int | None] = [int(label) for label in options.labels]
    if len(labels) != count:
        raise ValueError(f"labels: must be {count}, one for each probe")
    if not all(label is not None and 0 <= label < program.classes for label in labels):
        raise ValueError(f"labels: must be from 0 to {program.classes - 1}")
    return labels


def _as_json(config: Any) -> dict[str, Any]:
    """A configuration as JSON values; what JSON cannot hold becomes text."""
    content: dict[str, Any] = json.loads(json.dumps(dict(config), default=str))
    return content
