"""The plan of an experiment: a base spec, fields that vary, and seeds."""

import math
from typing import Annotated, Any

from pydantic import AfterValidator, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from service.core.parameters import Parameters
from service.core.spec import Name
from service.names import check_paragraphs

MAX_RUNS = 1000
"""Runs of one experiment. The queue is read several times per second."""

MAX_FIELDS = 20
MAX_VALUES = 100
MAX_SEEDS = 100
MAX_NOTES = 5000
FIELD_PATTERN = r"^[a-z0-9_]+(\.[a-z0-9_]+)*$"
RESERVED_FIELDS = ("seed", "name", "tags", "dataset_info")
"""Fields of a run that the experiment sets itself, or that describe the dataset."""

Notes = Annotated[str, Field(max_length=MAX_NOTES), AfterValidator(check_paragraphs)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Range = Annotated[list[float], Field(min_length=2, max_length=2)]


def _check_path(path: str) -> str:
    if path.partition(".")[0] in RESERVED_FIELDS:
        raise PydanticCustomError(
            "reserved_field",
            "cannot vary: seeds are listed in seeds, and {names} belong to the base",
            {"names": ", ".join(RESERVED_FIELDS[1:])},
        )
    return path


FieldPath = Annotated[
    str,
    Field(pattern=FIELD_PATTERN, max_length=200, examples=["optimizer.learning_rate"]),
    AfterValidator(_check_path),
]


def _check_seeds(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise PydanticCustomError("repeated_seed", "must not contain a seed twice")
    return seeds


Seeds = Annotated[
    list[Seed], Field(min_length=1, max_length=MAX_SEEDS), AfterValidator(_check_seeds)
]


class FieldValues(Parameters):
    """The values of a field: a list, or a range that samples are drawn from. Exactly one."""

    values: Annotated[list[JsonValue], Field(min_length=1, max_length=MAX_VALUES)] | None = None
    """Values to try."""
    uniform: Range | None = None
    """Lower and upper bound. Samples are uniform, and rounded for a whole number."""
    log_uniform: Range | None = None
    """Lower and upper bound, both positive. The logarithm of the samples is uniform."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "FieldValues":
        ranges = [bounds for bounds in (self.uniform, self.log_uniform) if bounds is not None]
        if len(ranges) + (self.values is not None) != 1:
            raise PydanticCustomError(
                "values_or_range", "must have exactly one of values, uniform and log_uniform"
            )
        if self.values is not None and _has_duplicates(self.values):
            raise PydanticCustomError("repeated_value", "must not contain a value twice")
        for low, high in ranges:
            if low >= high or not math.isfinite(high - low):
                raise PydanticCustomError("empty_range", "must have a lower bound below the upper")
        if self.log_uniform is not None and self.log_uniform[0] <= 0:
            raise PydanticCustomError("nonpositive_bound", "must have bounds greater than 0")
        return self


def _has_duplicates(values: list[JsonValue]) -> bool:
    # By type too: 1 equals True.
    keys = [(type(value), repr(value)) for value in values]
    return len(set(keys)) < len(keys)


class ExperimentPlan(Parameters):
    """What an experiment runs: every setting with every seed.

    The settings are all combinations of `fields`, or `samples` draws from them, or the list
    `settings`.
    """

    name: Name = ""
    """Display name. Need not be unique."""
    notes: Notes = ""
    """Text about the experiment."""
    base: dict[str, JsonValue] = Field(default_factory=dict)
    """Settings that all runs share, as of `POST /runs`."""
    fields: Annotated[dict[FieldPath, FieldValues], Field(max_length=MAX_FIELDS)] = Field(
        default_factory=dict
    )
    """The fields that vary, by dotted path, as in `optimizer.learning_rate`."""
    settings: (
        Annotated[list[dict[FieldPath, JsonValue]], Field(min_length=1, max_length=MAX_RUNS)] | None
    ) = None
    """Instead of `fields`: each setting as its values by dotted path."""
    samples: Annotated[int, Field(ge=1, le=MAX_RUNS)] | None = None
    """Number of settings to draw from `fields`. Default: all combinations."""
    sampling_seed: Seed = 0
    """Seed of the drawing: the same plan has the same settings."""
    seeds: Seeds = Field(default_factory=lambda: [0], json_schema_extra={"default": [0]})
    """Random seeds of the runs. Two or more show which differences are noise."""

    @model_validator(mode="after")
    def _fields_or_settings(self) -> "ExperimentPlan":
        if self.settings is not None and (self.fields or self.samples is not None):
            raise PydanticCustomError(
                "fields_and_settings", "must have fields or settings, and not both"
            )
        if self.samples is not None and not self.fields:
            raise PydanticCustomError("no_fields", "has samples, and no fields to draw from")
        ranges = [path for path, values in self.fields.items() if values.values is None]
        if ranges and self.samples is None:
            raise PydanticCustomError(
                "samples_missing",
                "needs the number of samples: {paths} has a range",
                {"paths": ", ".join(ranges)},
            )
        return self

    @property
    def paths(self) -> list[str]:
        """The fields that vary, in the order of the plan."""
        if self.settings is None:
            return list(self.fields)
        return list(dict.fromkeys(path for setting in self.settings for path in setting))

    @property
    def setting_count(self) -> int:
        """Number of settings; times the number of seeds, that of runs."""
        if self.settings is not None:
            return len(self.settings)
        if self.samples is not None:
            return self.samples
        return math.prod(len(values.values or ()) for values in self.fields.values())


def value_at(values: Any, path: str) -> JsonValue:
    """The value at a dotted path of nested objects and lists; None if there is none."""
    for part in path.split("."):
        if isinstance(values, dict):
            values = values.get(part)
        elif isinstance(values, list) and part.isdigit() and int(part) < len(values):
            values = values[int(part)]
        else:
            return None
    result: JsonValue = values
    return result
