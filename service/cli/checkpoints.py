"""Taking in the checkpoints of a training that was not recorded."""

import glob
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from camreel.checkpoints import CheckpointImport, CheckpointRefused, import_checkpoints
from camreel.checkpoints.importing import load_factory, load_pictures
from camreel.errors import RecorderError

from service.cli.storage import import_from_spool
from service.cli.terminal import print_line
from service.errors import CamreelError
from service.names import sanitize_line
from service.settings import Settings


@dataclass(frozen=True)
class CheckpointOptions:
    """What a user says about checkpoints."""

    model: str
    patterns: Sequence[str]
    images: Path
    classes: Path | None
    size: Sequence[int]
    mean: Sequence[float]
    std: Sequence[float]
    name: str


def import_checkpoint_files(settings: Settings, options: CheckpointOptions) -> None:
    """Record checkpoints as a run, and report what did not fit and why. Raises CamreelError."""
    # Not Path.glob: a pattern may be absolute.
    names = {name for p in options.patterns for name in glob.glob(p, recursive=True)}  # noqa: PTH207
    paths = sorted(map(Path, names))
    if not paths:
        raise CamreelError(f"No file matches {' '.join(options.patterns)}.")
    try:
        network = load_factory(options.model)
        classes = _read_classes(options.classes)
        size = (options.size[0], options.size[-1])
        images, labels = load_pictures(
            options.images, classes or [], size, mean=options.mean, std=options.std
        )
        with tempfile.TemporaryDirectory() as folder:
            result = import_checkpoints(
                network,
                paths,
                on_progress=_show_progress,
                probes=images,
                labels=labels,
                classes=classes,
                mean=list(options.mean),
                std=list(options.std),
                name=options.name,
                url="",
                spool=folder,
            )
            _report(result)
            import_from_spool(settings, result.spool)
    except (CheckpointRefused, RecorderError, ValueError) as error:
        raise CamreelError(str(error)) from error


def _read_classes(path: Path | None) -> list[str] | None:
    if path is None:
        return None
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _show_progress(count: int, total: int) -> None:
    if sys.stderr.isatty():
        bar = "#" * (30 * count // total)
        sys.stderr.write(f"\r[{bar:<30}] {count}/{total}" + ("\n" if count == total else ""))


def _report(result: CheckpointImport) -> None:
    for path, location in result.locations.items():
        print_line(sanitize_line(f"{path}: weights in {location}"))
    for path, reason in result.refusals.items():
        print_line(sanitize_line(f"{path}: left out, {reason}"))
    if result.stand_ins:
        print_line(sanitize_line(f"Not loaded: {', '.join(sorted(result.stand_ins))}"))
