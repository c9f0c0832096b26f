"""Records a training loop for Camreel, without hooks and without disturbing it."""

from camreel.errors import (
    BadEpoch,
    BadMetric,
    CannotExport,
    ConstantWeights,
    InvalidSpool,
    ModelChanged,
    RecorderError,
    RunInUse,
    SpoolFull,
    UnsupportedWrapper,
)
from camreel.recorder.recorder import Recorder
from camreel.recorder.status import RecorderStatus

__all__ = [
    "BadEpoch",
    "BadMetric",
    "CannotExport",
    "ConstantWeights",
    "InvalidSpool",
    "ModelChanged",
    "Recorder",
    "RecorderError",
    "RecorderStatus",
    "RunInUse",
    "SpoolFull",
    "UnsupportedWrapper",
]
