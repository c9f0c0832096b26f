"""Schema of exported files. Unknown fields are refused.

The file is a zip of uncompressed members with the byte layout of `layout.py`. Its members are
`manifest.json`, the images, for each epoch its rows (JSON) and its checkpoint (safetensors), the
training state of the last epoch and those of earlier epochs (safetensors), in the order of the
manifest. Of a network that is described by a program, the checkpoints are manifests (JSON), and the
network (JSON) and the tensors (safetensors, each once) follow. The comment of the zip is the
SHA-256 of the manifest. Format 1 had no training state and no uploads, format 2 no environment,
format 3 no divergence, format 4 no earlier training states and no programs, format 5 no exchange
tests, no insights, no metrics of steps and no notes.
"""

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, Base64Bytes, Field, StringConstraints

from service.core.experiments.plan import Notes
from service.core.parameters import Parameters
from service.core.step_history import MAX_STEPS
from service.core.uploads import UploadConversion
from service.names import check_line, check_paragraphs

FORMAT = 6
MANIFEST = "manifest.json"

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=200), AfterValidator(check_line)]
Timestamp = AwareDatetime
Fraction = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[int, Field(ge=0, le=10_000)]


class Member(Parameters):
    """A member of the zip."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z]+/[0-9]{5}\.[a-z]+$")]
    sha256: Sha256
    bytes: Annotated[int, Field(ge=0, le=2**33)]


class Failure(Parameters):
    """The error of a failed run."""

    type: Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z_]+$")]
    detail: Annotated[str, Field(max_length=2000), AfterValidator(check_paragraphs)]


class ExportedEnvironment(Parameters):
    """The environment of the run's first start, as in `core/environment.py`."""

    torch: Text
    numpy: Text
    threads: Annotated[int, Field(ge=1, le=1024)]
    device: Text
    cpu_capability: Text
    processor: Text
    machine: Text
    deterministic: bool
    math_variables: dict[Text, Text]


class ExportedRun(Parameters):
    """The run at the time of the export."""

    id: Annotated[int, Field(ge=1, lt=2**63)]
    spec: dict[str, Any]
    status: Literal["succeeded", "failed", "cancelled"]
    error: Failure | None
    epochs_done: Annotated[int, Field(ge=-1, le=10_000)]
    epochs_total: Annotated[int, Field(ge=0, le=10_000)]
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    notes: Notes = ""
    environment: ExportedEnvironment | None = None
    environment_changes: Annotated[
        list[Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00-\x1f\x7f]*$")]],
        Field(max_length=10_001),
    ] = Field(default_factory=list)


class ExportedDivergence(Parameters):
    """The last steps of a run that diverged, one loss and one gradient norm per step."""

    epoch: Number
    first_step: Annotated[int, Field(ge=1, lt=2**31)]
    losses: Annotated[list[float | None], Field(max_length=MAX_STEPS)]  # null if not finite
    gradient_norms: Annotated[list[float | None], Field(max_length=MAX_STEPS)]  # null if unknown


class ExportedEpoch(Parameters):
    """Metrics of an epoch, and the members with its rows and its checkpoint."""

    epoch: Number
    train_loss: float | None
    train_accuracy: Fraction | None
    test_loss: float | None  # null only in a recorded run, like the next ones
    test_accuracy: Fraction | None
    per_class_accuracy: Annotated[list[Fraction], Field(max_length=10_000)]
    learning_rate: float | None
    seconds: Annotated[float, Field(ge=0)] | None
    metrics: dict[str, float | None] | None = None
    config_changes: dict[str, Any] | None = None
    late_metrics: list[str] | None = None
    created_at: Timestamp
    rows: Member
    checkpoint: Member


class ExportedState(Parameters):
    """The training state of an epoch before the last."""

    epoch: Number
    state: Member


class ExportedEvent(Parameters):
    """An event of the run."""

    number: Annotated[int, Field(ge=1, lt=2**31)]
    kind: Literal["epoch", "status"]
    data: dict[str, Any]


class ExportedUpload(Parameters):
    """Digest of the uploaded file, and how it was converted."""

    digest: Sha256
    choices: UploadConversion


class ExportedImage(Parameters):
    """A probe image, in the run's order."""

    reference: Annotated[str, StringConstraints(max_length=80, pattern=r"^[a-z]+:[A-Za-z0-9_-]+$")]
    label: Annotated[int, Field(ge=0, le=10_000)] | None
    png: Member
    upload: ExportedUpload | None = None


class Manifest(Parameters):
    """Content of `manifest.json`, the first member."""

    format: Annotated[int, Field(ge=1, le=FORMAT)]  # not Literal, which accepts true as 1
    camreel: Text
    engine: int
    exported_at: Timestamp
    run: ExportedRun
    images: Annotated[list[ExportedImage], Field(max_length=1_000)]
    epochs: Annotated[list[ExportedEpoch], Field(max_length=10_001)]
    events: Annotated[list[ExportedEvent], Field(max_length=50_000)]
    training_state: Member | None = None
    earlier_states: Annotated[list[ExportedState], Field(max_length=10_000)] = Field(
        default_factory=list
    )
    divergence: ExportedDivergence | None = None
    network: Member | None = None
    tensors: Annotated[list[Member], Field(max_length=100_000)] = Field(default_factory=list)

    def members(self) -> list[Member]:
        """All other members, in order."""
        by_epoch = [member for epoch in self.epochs for member in (epoch.rows, epoch.checkpoint)]
        states = [self.training_state] if self.training_state is not None else []
        states += [exported.state for exported in self.earlier_states]
        network = [self.network] if self.network is not None else []
        images = [image.png for image in self.images]
        return [*images, *by_epoch, *states, *network, *self.tensors]


class ExportedHeatmap(Parameters):
    """Row of a map."""

    image: Annotated[str, StringConstraints(max_length=80)]
    class_index: Number
    method: Text
    layer: Text
    peak: float | None  # null if not finite, like the next two
    minimum: float | None
    activation_peak: float | None
    blank: Literal["none", "saturated", "all-negative", "dead", "not-finite"]
    etag: Sha256
    levels: Base64Bytes | None
    height: Annotated[int, Field(ge=1, le=64)] | None
    width: Annotated[int, Field(ge=1, le=64)] | None


class ExportedPrediction(Parameters):
    """Class probabilities of an image."""

    image: Annotated[str, StringConstraints(max_length=80)]
    probabilities: Annotated[list[Fraction | None], Field(max_length=10_000)]  # null if not finite


class ExportedExchangeTest(Parameters):
    """The exchange test of an epoch. Its document is checked when it is read."""

    document: dict[str, Any]
    map: Base64Bytes | None  # classes x height x width little-endian float32
    height: Annotated[int, Field(ge=1, le=64)] | None
    width: Annotated[int, Field(ge=1, le=64)] | None


class ExportedInsight(Parameters):
    """The insight of an epoch. Its parts are checked when they are read."""

    document: dict[str, Any]
    mistakes: Base64Bytes
    presentations: Base64Bytes | None
    class_means: Base64Bytes | None


StepPoint = Annotated[tuple[int, float | None], Field(strict=False)]
MetricName = Annotated[str, Field(min_length=1, max_length=256)]


class EpochRows(Parameters):
    """Content of an epoch's JSON member."""

    heatmaps: list[ExportedHeatmap]
    predictions: list[ExportedPrediction]
    exchange_test: ExportedExchangeTest | None = None
    insight: ExportedInsight | None = None
    steps: Annotated[
        dict[MetricName, Annotated[list[StepPoint], Field(max_length=1_000)]],
        Field(max_length=1_000),
    ] = Field(default_factory=dict)


def to_json(values: object) -> bytes:
    """The canonical JSON of a member: each value has exactly one encoding."""
    return json.dumps(values, allow_nan=False, separators=(",", ":")).encode()


def format_timestamp(value: datetime) -> str:
    """ISO 8601, as in the manifest."""
    return value.isoformat()
