"""Checkpoints of trainings that were not recorded, taken in afterwards."""

from camreel.checkpoints.importing import CheckpointImport, import_checkpoints
from camreel.checkpoints.reading import CheckpointRefused, StoredCheckpoint, read_checkpoint

__all__ = [
    "CheckpointImport",
    "CheckpointRefused",
    "StoredCheckpoint",
    "import_checkpoints",
    "read_checkpoint",
]
