"""Training of architectures whose networks are plain modules, in memory."""

from service.core.checkpoints import CheckpointHeader, encode
from service.core.datasets.dataset import Dataset
from service.core.models.architecture import ArchitectureParameters
from service.core.spec import RunSpec
from service.core.training import train
from service.core.training_state import TrainingState, encode_optimizer


def spec_of(architecture: ArchitectureParameters, **fields: object) -> RunSpec:
    """A short run on digits; the architecture is set without the validation of runs."""
    body = {
        "dataset": "digits",
        "epochs": 2,
        "samples_per_epoch": 60,
        "batch_size": 20,
        "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9},
    }
    spec = RunSpec.model_validate(body | fields)
    return spec.model_copy(update={"architecture": architecture})


def trained_states(spec: RunSpec, data: Dataset, **options: object) -> list[TrainingState]:
    """The network as a checkpoint, and the optimizer, after each epoch."""
    return [
        TrainingState(
            result.epoch,
            encode(result.network, CheckpointHeader.for_epoch(spec, result.epoch)),
            encode_optimizer(result.optimizer, result.epoch),
        )
        for result in train(spec, data, **options)
    ]
