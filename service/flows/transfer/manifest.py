"""What a file says of the run in it. Strict, closed: what is not written here is refused.

The file is a zip whose members are all stored, none deflated: what it says it holds it has to be
as large as. Around them it has the bytes of `layout.py`, and no other. `manifest.json` comes
first, then the images, then for each epoch its rows (JSON) and its checkpoint (safetensors), in the
manifest's order, then the last epoch's training state (safetensors). The zip's comment is the
manifest's sha256. Format 1 had neither training state nor uploads, format 2 no
environment.
"""

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, Base64Bytes, Field, StringConstraints

from service.core.parameters import Parameters
from service.core.uploads import UploadConversion
from service.names import check_line, check_paragraphs

FORMAT = 3
MANIFEST = "manifest.json"

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=200), AfterValidator(check_line)]
Timestamp = AwareDatetime
Fraction = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[int, Field(ge=0, le=10_000)]


class Member(Parameters):
    """A part of the file."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z]+/[0-9]{5}\.[a-z]+$")]
    sha256: Sha256
    bytes: Annotated[int, Field(ge=0, le=2**33)]


class Failure(Parameters):
    """Why the run failed."""

    type: Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z_]+$")]
    detail: Annotated[str, Field(max_length=2000), AfterValidator(check_paragraphs)]


class ExportedEnvironment(Parameters):
    """What its training began in: `core/environment.py`."""

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
    """The run as it stood."""

    id: Annotated[int, Field(ge=1, lt=2**63)]
    spec: dict[str, Any]
    status: Literal["succeeded", "failed", "cancelled"]
    error: Failure | None
    epochs_done: Annotated[int, Field(ge=-1, le=10_000)]
    epochs_total: Annotated[int, Field(ge=1, le=10_000)]
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    environment: ExportedEnvironment | None = None
    environment_changes: Annotated[
        list[Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00-\x1f\x7f]*$")]],
        Field(max_length=10_001),
    ] = Field(default_factory=list)


class ExportedEpoch(Parameters):
    """What was measured of it, and the members that hold its rows and its checkpoint."""

    epoch: Number
    train_loss: float | None
    train_accuracy: Fraction | None
    test_loss: float
    test_accuracy: Fraction
    per_class_accuracy: Annotated[list[Fraction], Field(max_length=10_000)]
    learning_rate: float
    seconds: Annotated[float, Field(ge=0)]
    created_at: Timestamp
    rows: Member
    checkpoint: Member


class ExportedEvent(Parameters):
    """Something that happened to it."""

    number: Annotated[int, Field(ge=1, lt=2**31)]
    kind: Literal["epoch", "status"]
    data: dict[str, Any]


class ExportedUpload(Parameters):
    """What was uploaded, and what was done to its pixels."""

    digest: Sha256
    choices: UploadConversion


class ExportedImage(Parameters):
    """An image that it watched, at its place in the run's order."""

    reference: Annotated[str, StringConstraints(max_length=80, pattern=r"^[a-z]+:[A-Za-z0-9_-]+$")]
    label: Annotated[int, Field(ge=0, le=10_000)] | None
    png: Member
    upload: ExportedUpload | None = None


class Manifest(Parameters):
    """The first member."""

    format: Annotated[int, Field(ge=1, le=FORMAT)]  # not Literal, which takes true for 1
    camreel: Text
    engine: int
    exported_at: Timestamp
    run: ExportedRun
    images: Annotated[list[ExportedImage], Field(max_length=1_000)]
    epochs: Annotated[list[ExportedEpoch], Field(max_length=10_001)]
    events: Annotated[list[ExportedEvent], Field(max_length=50_000)]
    training_state: Member | None = None

    def members(self) -> list[Member]:
        """Those that follow, in their order."""
        by_epoch = [member for epoch in self.epochs for member in (epoch.rows, epoch.checkpoint)]
        training_state = [] if self.training_state is None else [self.training_state]
        return [*(image.png for image in self.images), *by_epoch, *training_state]


class ExportedHeatmap(Parameters):
    """A map's row."""

    image: Annotated[str, StringConstraints(max_length=80)]
    class_index: Number
    method: Text
    layer: Text
    peak: float | None  # null, as the next two, where it is not finite
    minimum: float | None
    activation_peak: float | None
    blank: Literal["none", "saturated", "all-negative", "dead", "not-finite"]
    etag: Sha256
    levels: Base64Bytes | None
    height: Annotated[int, Field(ge=1, le=64)] | None
    width: Annotated[int, Field(ge=1, le=64)] | None


class ExportedPrediction(Parameters):
    """How sure the network was: float32, little-endian, one a class."""

    image: Annotated[str, StringConstraints(max_length=80)]
    probabilities: Annotated[list[Fraction | None], Field(max_length=10_000)]  # null: not finite


class EpochRows(Parameters):
    """The rows of an epoch, as its JSON member has them."""

    heatmaps: list[ExportedHeatmap]
    predictions: list[ExportedPrediction]


def to_json(values: object) -> bytes:
    """A JSON member's bytes. Of one value there is one text: any other was not exported."""
    return json.dumps(values, allow_nan=False, separators=(",", ":")).encode()


def format_timestamp(value: datetime) -> str:
    """As the manifest has it."""
    return value.isoformat()
