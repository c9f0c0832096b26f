"""The settings of a run. The defaults are the paper's experiment (section 4)."""

import hashlib
import json
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from service.core.augmentation import Augmentation
from service.core.datasets import DATASETS
from service.core.datasets.dataset import (
    MAX_IMAGES,
    DatasetInfo,
    DatasetSource,
    ImageReference,
    is_folder,
    is_upload,
)
from service.core.datasets.folder import FOLDER_INPUT, folder_source
from service.core.datasets.planted import SOURCE as PLANTED_SOURCE
from service.core.datasets.planted import planted_source
from service.core.datasets.plants import Plant
from service.core.datasets.resized import resized_source
from service.core.input import InputSpec
from service.core.models import Architecture, StagedArchitecture
from service.core.models.table1 import Table1
from service.core.optimizers import Adadelta, AnyOptimizer
from service.core.parameters import Parameters
from service.core.schedules import MAX_EPOCHS, AnySchedule, Constant, Cosine
from service.errors import InvalidValue, UnknownName
from service.names import NAME_PATTERN, check_line, check_name

PartOfName = Annotated[
    str,
    Field(max_length=200, json_schema_extra={"pattern": NAME_PATTERN}),
    AfterValidator(check_line),
]
Name = Annotated[PartOfName, AfterValidator(check_name)]
TAG_PATTERN = "^[A-Za-z0-9][A-Za-z0-9_.:-]{0,49}$"
MAX_PROBES = 1000


def _check_tag(text: str) -> str:
    if not re.fullmatch(TAG_PATTERN.strip("^$"), text, flags=re.ASCII):
        raise PydanticCustomError(
            "tag_format",
            "must be 1 to 50 letters, digits and _ . : -, of which the first is a letter or digit",
        )
    return text


Tag = Annotated[str, Field(json_schema_extra={"pattern": TAG_PATTERN}), AfterValidator(_check_tag)]


STATES_PATTERN = "^(last|all|every:[1-9][0-9]{0,3})$"


def _check_states(text: str) -> str:
    if not re.fullmatch(STATES_PATTERN.strip("^$"), text, flags=re.ASCII):
        raise PydanticCustomError(
            "states_format", "must be last, all or every:<n>, as in every:10, where n is 1 to 9999"
        )
    return text


RetainedStates = Annotated[
    str, Field(json_schema_extra={"pattern": STATES_PATTERN}), AfterValidator(_check_states)
]


class Probes(Parameters):
    """The images whose maps are recorded at every epoch."""

    per_class: Annotated[int, Field(ge=0, le=100)] = 1
    """The first N test images of each class."""
    images: Annotated[list[str], Field(max_length=200)] = Field(default_factory=list)
    """Additional images, by reference: `test:7`, `train:12`, `upload:<id>`."""


def _check_dataset(name: str) -> str:
    if name not in DATASETS and not is_folder(name):
        raise PydanticCustomError(
            "unknown_dataset",
            "no such dataset; {names}, or folder:<name>",
            {"names": ", ".join(DATASETS)},
        )
    return name


DatasetName = Annotated[
    str,
    Field(json_schema_extra={"examples": [*DATASETS, "folder:birds"]}),
    AfterValidator(_check_dataset),
]


def _source(data: dict[str, object]) -> DatasetSource | None:
    """The dataset as far as it is known: an image folder is only when the run is created.

    A dataset that was itself rejected is missing from `data`; its own error suffices.
    """
    name, info = str(data.get("dataset")), data.get("dataset_info")
    if isinstance(info, DatasetInfo):
        return folder_source(name, info, _input(data))
    plant = data.get("plant")
    if name == PLANTED_SOURCE.name and isinstance(plant, Plant):
        return planted_source(plant)
    return DATASETS.get(name)


def _default_plant(data: dict[str, object]) -> Plant | None:
    return Plant() if data.get("dataset") == PLANTED_SOURCE.name else None


def _input(data: dict[str, object]) -> InputSpec:
    input_spec = data.get("input")
    return input_spec if isinstance(input_spec, InputSpec) else FOLDER_INPUT


def _default_input(data: dict[str, object]) -> InputSpec:
    source = _source(data)
    return source.default_input if source else FOLDER_INPUT


def _default_samples(data: dict[str, object]) -> int:
    source = _source(data)
    return min(10_000, source.train_size) if source else 10_000


def _image_error(text: str, source: DatasetSource) -> PydanticCustomError | None:
    """What is wrong with the reference of a probe; None if it may exist."""
    if is_upload(text):
        return None  # the store checks whether it exists
    try:
        reference = ImageReference.parse(text)
    except InvalidValue as error:
        return PydanticCustomError("image_reference", error.message)
    size = source.size(reference.split)
    if reference.index < size:
        return None
    return PydanticCustomError(
        "image_index",
        "{split} of {dataset} has images 0 to {maximum}",
        {"split": reference.split, "dataset": source.name, "maximum": size - 1},
    )


def _invalid_field(
    variant: str, field: str, error: PydanticCustomError, value: object
) -> ValidationError:
    """An error of a field of a variant of a union; pydantic adds the location of the union."""
    return ValidationError.from_exception_data(
        variant, [{"type": error, "loc": (variant, field), "input": value}]
    )


class RunSpec(Parameters):
    """Settings of a run. `{}` is the paper's: Table 1, MNIST, 100 epochs of 10,000 images."""

    name: Name = ""
    """Display name. Need not be unique."""
    tags: Annotated[list[Tag], Field(max_length=20)] = Field(default_factory=list)
    """Labels for filtering runs: letters, digits and `_ . : -`."""
    dataset: DatasetName = "mnist"
    """Dataset to train on: a built-in one, or `folder:<name>` for a folder of images."""
    dataset_info: DatasetInfo | None = None
    """Of an image folder: its properties when the run was created. In a request, the run is refused
    if the folder has changed since; by default, the service adds the current ones."""
    plant: Plant | None = Field(default_factory=_default_plant)
    """Of `mnist-planted`: what is planted. Null for other datasets."""
    input: InputSpec = Field(default_factory=_default_input)
    """What the network sees of an image. Default: the dataset's."""
    architecture: Architecture = Field(default_factory=Table1)
    """Network architecture."""
    optimizer: AnyOptimizer = Field(default_factory=Adadelta)
    """The optimizer and its parameters."""
    epochs: Annotated[int, Field(ge=0, le=MAX_EPOCHS)] = 100
    """Number of epochs. Each draws `samples_per_epoch` training images. 0 explains the network as
    it is, without training."""
    schedule: AnySchedule = Field(default_factory=Constant)
    """The learning rate over the epochs, as a factor of the optimizer's."""
    samples_per_epoch: int = Field(
        default_factory=_default_samples,
        ge=1,
        le=MAX_IMAGES,
    )
    """Training images per epoch, drawn at random without replacement. Default: 10,000, or the whole
    training set if it is smaller."""
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Images per optimizer step."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target probability that is spread over all classes in the training loss."""
    augmentation: Augmentation = Field(default_factory=Augmentation)
    """Random changes of training images. Test images and maps are not changed."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1, title="Random seed")] = 0
    """On a CPU, the same settings and `environment` give bit-identical results,
    no matter how many runs train at once. On a GPU, results may differ."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of training. Weights and maps are always float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to train on. `auto` uses a GPU if one is available; `cuda` requires one."""
    keep_states: RetainedStates = "last"
    """Epochs whose training states are kept: the `last` one, from which the run resumes, and
    `all` the others or `every:<n>`-th."""
    probes: Probes = Field(default_factory=Probes)
    """The images whose maps are recorded at every epoch."""

    @field_validator("dataset_info")
    @classmethod
    def _info_of_folder_only(
        cls, dataset_info: DatasetInfo | None, info: ValidationInfo
    ) -> DatasetInfo | None:
        if dataset_info is not None and not is_folder(str(info.data.get("dataset"))):
            raise PydanticCustomError("not_a_folder", "must be null for a built-in dataset")
        return dataset_info

    @field_validator("plant")
    @classmethod
    def _plant_of_planted_only(cls, plant: Plant | None, info: ValidationInfo) -> Plant | None:
        if "dataset" not in info.data:
            return plant
        if info.data["dataset"] == PLANTED_SOURCE.name:
            return plant or Plant()
        if plant is not None:
            raise PydanticCustomError(
                "not_planted",
                "must be null unless the dataset is {dataset}",
                {"dataset": PLANTED_SOURCE.name},
            )
        return plant

    @field_validator("tags")
    @classmethod
    def _tags_once(cls, tags: list[str]) -> list[str]:
        return list(dict.fromkeys(tags))

    @field_validator("architecture")
    @classmethod
    def _architecture_fits_input(
        cls, architecture: Architecture, info: ValidationInfo
    ) -> Architecture:
        input_spec = info.data.get("input")
        if not isinstance(input_spec, InputSpec):
            return architecture
        reason = architecture.unfit_reason(input_spec.image_shape)
        if reason is None:
            return architecture
        _, height, width = input_spec.image_shape
        error = PydanticCustomError(
            "unfit_images",
            "{name} {reason}, and the input has {height} x {width}",
            {"name": architecture.name, "reason": reason, "height": height, "width": width},
        )
        family = architecture.name.partition(":")[0]
        raise _invalid_field(family, "name", error, architecture.name)

    @field_validator("schedule")
    @classmethod
    def _schedule_spans_epochs(cls, schedule: AnySchedule, info: ValidationInfo) -> AnySchedule:
        if not isinstance(schedule, Cosine):
            return schedule
        span_epochs = schedule.span_epochs or max(1, info.data.get("epochs", 1))
        if schedule.warmup_epochs < span_epochs:
            return schedule.model_copy(update={"span_epochs": span_epochs})
        error = PydanticCustomError(
            "warmup_too_long",
            "must be less than the {maximum} epochs that the schedule spans",
            {"maximum": span_epochs},
        )
        raise _invalid_field("cosine", "warmup_epochs", error, schedule.warmup_epochs)

    @field_validator("samples_per_epoch")
    @classmethod
    def _samples_in_dataset(cls, samples: int, info: ValidationInfo) -> int:
        source = _source(info.data)
        if source and samples > source.train_size:
            raise PydanticCustomError(
                "more_than_dataset",
                "{dataset} has {maximum} training images, so the value is 1 to {maximum}",
                {"dataset": source.name, "maximum": source.train_size},
            )
        return samples

    @field_validator("probes")
    @classmethod
    def _probes_in_dataset(cls, probes: Probes, info: ValidationInfo) -> Probes:
        source = _source(info.data)
        if source is None:
            return probes
        errors: list[InitErrorDetails] = [
            {"type": error, "loc": ("images", index), "input": text}
            for index, text in enumerate(probes.images)
            if (error := _image_error(text, source)) is not None
        ]
        total = probes.per_class * len(source.class_names) + len(probes.images)
        if not 1 <= total <= MAX_PROBES:
            count_error = PydanticCustomError(
                "probe_count",
                "per_class and images ask for {total} probes; a run has 1 to {maximum}",
                {"total": total, "maximum": MAX_PROBES},
            )
            errors.append({"type": count_error, "loc": ("per_class",), "input": probes.per_class})
        if errors:
            # Pydantic adds the location of `probes` to those of the errors.
            raise ValidationError.from_exception_data("Probes", errors)
        return probes

    def retains_state(self, epoch: int) -> bool:
        """Whether the training state of an epoch is kept after the next one's is recorded."""
        policy, _, interval = self.keep_states.partition(":")
        return policy == "all" or (policy == "every" and epoch % int(interval) == 0)

    def learning_rate(self, epoch: int) -> float:
        """The learning rate of an epoch; of epoch 0, which trains nothing, the first one's."""
        return self.optimizer.learning_rate * self.schedule.factor(max(1, epoch))

    @property
    def has_program(self) -> bool:
        """Whether the network is explained as a program, and not as a sequence of stages."""
        return not isinstance(self.architecture, StagedArchitecture)

    @property
    def source(self) -> DatasetSource:
        """The dataset with the images that the network sees; `image_shape` is theirs.

        Raises UnknownName for an image folder that was not examined.
        """
        source = _source(self.__dict__)
        if source is None:
            raise UnknownName("dataset", self.dataset, DATASETS)
        return resized_source(source, self.input)

    @property
    def image_set(self) -> str:
        """Name of the set of pixels that the network sees, at most 60 characters.

        The dataset's name, with a hash if the dataset or the input may have others.
        """
        if self.plant is not None and self.plant != Plant():
            plant = json.dumps(self.plant.model_dump(), sort_keys=True)
            parts = f"{plant} {self.input.pixels_key}"
            return f"{self.dataset}@{hashlib.sha256(parts.encode()).hexdigest()[:12]}"
        if self.dataset_info is None:
            if self.input.has_pixels_of(DATASETS[self.dataset].default_input):
                return self.dataset
            return f"{self.dataset}@{self.input.pixels_key}"
        parts = f"{self.dataset_info.content_sha256} {self.input.pixels_key}"
        return f"{self.dataset}@{hashlib.sha256(parts.encode()).hexdigest()[:12]}"
