"""Datasets of runs: found by name when a run is created, and prepared for its worker."""

from pydantic import ValidationError

from service.core.datasets import DATASETS
from service.core.datasets.dataset import Dataset, is_folder
from service.core.spec import RunSpec
from service.errors import (
    DatasetNotFound,
    DatasetUnavailable,
    InvalidSettings,
    InvalidValue,
    UnknownName,
)
from service.field_errors import field_errors
from service.flows.image_folders import ImageFolders
from service.flows.workspace import Workspace

MAX_MEASURED = 500
"""Images that are decoded while a client waits for its new run, at most."""


def open_folders(workspace: Workspace) -> ImageFolders:
    """The image folders of the workspace. The caller closes them."""
    return ImageFolders(workspace.data_dir, workspace.folder_limits)


def resolve_dataset(
    workspace: Workspace, spec: RunSpec, *, max_measured: int | None = MAX_MEASURED
) -> RunSpec:
    """The spec with the properties and defaults of its image folder; others are complete.

    Raises UnknownName for a missing folder; InvalidValue for one without images to train on, or
    that is not the one that the spec describes; InvalidSettings for settings that do not fit it;
    DatasetNotMeasured if more than `max_measured` of its images are new.
    """
    if not is_folder(spec.dataset):
        return spec
    folders = open_folders(workspace)
    try:
        index = folders.index(spec.dataset, max_measured=max_measured)
        info = index.info
    except DatasetNotFound as error:
        raise UnknownName("dataset", spec.dataset, [*DATASETS, *folders.names()]) from error
    except DatasetUnavailable as error:
        raise InvalidValue("dataset", str(error), code="dataset_unavailable") from error
    finally:
        folders.close()
    if spec.dataset_info is not None and spec.dataset_info != info:
        raise InvalidValue(
            "dataset_info",
            f"{spec.dataset} has changed since; without this field, the run takes its images as "
            "they are now",
            code="dataset_changed",
        )
    values = spec.model_dump(mode="json", include=spec.model_fields_set)
    values = {"input": index.default_input.model_dump(mode="json")} | values
    return _validate(values | {"dataset_info": info.model_dump(mode="json")})


def _validate(values: dict[str, object]) -> RunSpec:
    try:
        return RunSpec.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        raise InvalidSettings(
            InvalidValue(e.field, e.message, e.allowed, code=e.code, context=e.context)
            for e in field_errors(details, RunSpec.model_json_schema())
        ) from error


def load_dataset(workspace: Workspace, spec: RunSpec) -> Dataset:
    """The images that the run's network sees; downloads a built-in dataset if it is missing.

    Raises DatasetUnavailable, its subclass DatasetChanged, StoreFull, UploadsBusy.
    """
    if spec.dataset_info is not None:
        folders = open_folders(workspace)
        try:
            folders.prepare(spec.dataset, spec.dataset_info, spec.input)
        finally:
            folders.close()
    return spec.source.load(workspace.data_dir, True)
