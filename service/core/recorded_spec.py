"""The settings of a run whose training happens elsewhere."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, StringConstraints
from pydantic_core import PydanticCustomError

from service.core.input import InputSpec
from service.core.parameters import Parameters
from service.core.schedules import MAX_EPOCHS
from service.core.spec import Name, RunSpec, Tag
from service.errors import RunConflict
from service.names import check_line

RECORDED = "recorded"
MAX_DOCUMENT_BYTES = 64 * 2**10
MAX_CLASSES = 100_000
MAX_PROBES = 1000

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ClassName = Annotated[
    str, StringConstraints(min_length=1, max_length=200), AfterValidator(check_line)
]


def _check_document(document: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if len(json.dumps(document)) > MAX_DOCUMENT_BYTES:
        raise PydanticCustomError(
            "too_large", "must be JSON of at most {maximum} bytes", {"maximum": MAX_DOCUMENT_BYTES}
        )
    return document


Document = Annotated[dict[str, JsonValue], AfterValidator(_check_document)]


class RecordedSpec(Parameters):
    """A run that a recorder sends, epoch by epoch."""

    source: Literal["recorded"]
    """Where the run is trained: not by the service."""
    name: Name = ""
    """Display name. Need not be unique."""
    tags: Annotated[list[Tag], Field(max_length=20)] = Field(default_factory=list)
    """Labels for filtering runs: letters, digits and `_ . : -`."""
    network: Sha256
    """Identity of a network that was stored by `POST /networks`."""
    class_names: Annotated[list[ClassName], Field(min_length=2, max_length=MAX_CLASSES)]
    """Names of the classes, in the order of the network's outputs."""
    input: InputSpec | None = None
    """How images become the network's input; null: levels scaled to 0..1."""
    config: Document = Field(default_factory=dict)
    """Settings of the training, with keys of any name."""
    epochs: Annotated[int, Field(ge=0, le=MAX_EPOCHS)] | None = None
    """The last epoch that the recorder will send, if it knows."""
    weights: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type that the recorder has rounded float32 weights to; maps are computed in float32."""

    @property
    def has_program(self) -> bool:
        """Whether the network is explained as a program: always."""
        return True


AnySpec = RunSpec | RecordedSpec


def is_recorded(spec: Mapping[str, Any]) -> bool:
    """Whether a stored spec is that of a recorded run."""
    return spec.get("source") == RECORDED


def training_spec(spec: Mapping[str, Any]) -> RunSpec:
    """The stored spec of a run that the service trains. Raises RunConflict for a recorded run."""
    if is_recorded(spec):
        raise RunConflict(
            "This exists only for runs that the service trains, and the run was recorded."
        )
    return RunSpec.model_validate(spec)


def parse_spec(spec: Mapping[str, Any]) -> AnySpec:
    """The stored spec of any run."""
    return RecordedSpec.model_validate(spec) if is_recorded(spec) else RunSpec.model_validate(spec)
