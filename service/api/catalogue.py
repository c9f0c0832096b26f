"""The catalogue: what can be asked for. Read from the same tables that the work is done by."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from service.api.pages import Page
from service.core.cams.methods import METHODS
from service.core.datasets import DATASETS
from service.core.models import MODELS, Architecture, layers
from service.core.optimizers import OPTIMIZERS
from service.core.parameters import Parameters
from service.core.render.colormaps import COLORMAPS

router = APIRouter(tags=["catalogue"])


class DatasetAnswer(BaseModel):
    """A dataset that a run can learn."""

    name: str
    title: str
    description: str
    licence: str
    image_shape: tuple[int, int, int] = Field(description="Channels, height, width.")
    class_names: list[str]
    train_size: int
    test_size: int


class ParametrisedAnswer(BaseModel):
    """Something with parameters, as a JSON schema with bounds, defaults and a sentence each."""

    name: str
    description: str
    parameters: dict[str, Any]


class ArchitectureAnswer(ParametrisedAnswer):
    """A network that a run can train."""

    layers: list[str] = Field(description="Layers that maps can be made of, by default values.")
    default_layer: str


class MethodAnswer(BaseModel):
    """A method that a map can be asked by."""

    name: str
    title: str
    description: str
    source: str
    year: int


class ColormapAnswer(BaseModel):
    """A colour table, by its name in matplotlib."""

    name: str
    kind: str
    description: str


@router.get("/datasets", summary="What can be learned")
def list_datasets() -> Page[DatasetAnswer]:
    """All datasets."""
    items = [
        DatasetAnswer(
            name=source.name,
            title=source.title,
            description=source.description,
            licence=source.licence,
            image_shape=source.image_shape,
            class_names=list(source.class_names),
            train_size=source.train_size,
            test_size=source.test_size,
        )
        for source in DATASETS.values()
    ]
    return Page(items=items, next=None)


@router.get("/architectures", summary="What can be trained")
def list_architectures() -> Page[ArchitectureAnswer]:
    """All architectures, with their parameters' bounds and defaults."""
    source = DATASETS["mnist"]
    offered = layers(Architecture(), source.image_shape, len(source.class_names))
    items = [
        ArchitectureAnswer(
            name=name,
            description=_sentence(kind),
            parameters=kind.model_json_schema(),
            layers=list(offered.shapes),
            default_layer=offered.default,
        )
        for name, kind in MODELS.items()
    ]
    return Page(items=items, next=None)


@router.get("/optimizers", summary="How it can be trained")
def list_optimizers() -> Page[ParametrisedAnswer]:
    """All optimisers, with their parameters' bounds and defaults."""
    items = [
        ParametrisedAnswer(
            name=name, description=_sentence(kind), parameters=kind.model_json_schema()
        )
        for name, kind in OPTIMIZERS.items()
    ]
    return Page(items=items, next=None)


@router.get("/methods", summary="How it can be looked at")
def list_methods() -> Page[MethodAnswer]:
    """All methods of making a map."""
    items = [
        MethodAnswer(
            name=method.name,
            title=method.title,
            description=method.description,
            source=method.source,
            year=method.year,
        )
        for method in METHODS.values()
    ]
    return Page(items=items, next=None)


@router.get("/colormaps", summary="In which colours")
def list_colormaps() -> Page[ColormapAnswer]:
    """All colour tables."""
    items = [
        ColormapAnswer(name=c.name, kind=c.kind, description=c.description)
        for c in COLORMAPS.values()
    ]
    return Page(items=items, next=None)


def _sentence(kind: type[Parameters]) -> str:
    return (kind.__doc__ or "").strip().split("\n\n")[0]
