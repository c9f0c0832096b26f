"""The catalogue: what can be asked for. Read from the same tables that the work is done by."""

from functools import cache
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from service.api.pagination import Page
from service.api.scopes import requires
from service.core.cams.method import AttributionLevel, Cost
from service.core.cams.methods import METHODS, RECOMMENDED
from service.core.cams.targets import TARGETS
from service.core.datasets import DATASETS
from service.core.models import MODELS, Architecture, describe_layers
from service.core.optimizers import OPTIMIZERS
from service.core.parameters import Parameters
from service.core.render.colormaps import COLORMAPS, color_table
from service.store.tokens import READ

# The tables do not change while the service runs, and schemas of parameters are slow to make.
router = APIRouter(tags=["catalogue"])


class DatasetResponse(BaseModel):
    """A dataset that a run can learn."""

    name: str
    title: str
    description: str
    license: str
    image_shape: tuple[int, int, int] = Field(description="Channels, height, width.")
    class_names: list[str]
    train_size: int
    test_size: int


class ParametrizedResponse(BaseModel):
    """Something with parameters, as a JSON schema with bounds, defaults and a sentence each."""

    name: str
    description: str
    parameters: dict[str, Any]


class ArchitectureResponse(ParametrizedResponse):
    """A network that a run can train."""

    layers: list[str] = Field(description="Layers that maps can be made of, by default values.")
    default_layer: str


class MethodResponse(BaseModel):
    """A method that a map can be asked by."""

    name: str
    title: str
    description: str
    formula: str = Field(description="Before its last ReLU: A activations, G = d score / d A.")
    source: str
    year: int
    cost: Cost = Field(
        description="`forward`: one forward pass for all classes; `gradient`: and a gradient for "
        "each class; `samples`: so many for each sample or step; `perturbations`: a forward pass "
        "for each channel, patch or sample."
    )
    attribution_level: AttributionLevel = Field(
        description="`layer`: a map has the layer's positions; `input`: the image's pixels, and no "
        "layer is taken; `layers`: several layers are combined."
    )
    targets: list[str] = Field(description="What it can explain, the default first; none: no class")
    parameters: dict[str, Any] = Field(description="Its own, as a JSON schema.")
    recommended: bool = Field(description="The one for whoever does not come for the paper.")


class TargetResponse(BaseModel):
    """A score that a map explains."""

    name: str
    formula: str = Field(description="x: the units; o: behind the output activation.")
    description: str


class ColormapResponse(BaseModel):
    """A colour table, by its name in matplotlib."""

    name: str
    kind: str
    description: str
    colors: str = Field(description="Its 256 colours, lowest first, each as RRGGBB.")


@router.get("/datasets", summary="What can be learned")
@requires(READ)
@cache
def list_datasets() -> Page[DatasetResponse]:
    """All datasets."""
    items = [
        DatasetResponse(
            name=source.name,
            title=source.title,
            description=source.description,
            license=source.license,
            image_shape=source.image_shape,
            class_names=list(source.class_names),
            train_size=source.train_size,
            test_size=source.test_size,
        )
        for source in DATASETS.values()
    ]
    return Page(items=items, next=None)


@router.get("/architectures", summary="What can be trained")
@requires(READ)
@cache
def list_architectures() -> Page[ArchitectureResponse]:
    """All architectures, with their parameters' bounds and defaults."""
    source = DATASETS["mnist"]
    offered = describe_layers(Architecture(), source.image_shape, len(source.class_names))
    items = [
        ArchitectureResponse(
            name=name,
            description=_sentence(kind),
            parameters=kind.model_json_schema(),
            layers=list(offered.shapes),
            default_layer=offered.default_layer,
        )
        for name, kind in MODELS.items()
    ]
    return Page(items=items, next=None)


@router.get("/optimizers", summary="How it can be trained")
@requires(READ)
@cache
def list_optimizers() -> Page[ParametrizedResponse]:
    """All optimisers, with their parameters' bounds and defaults."""
    items = [
        ParametrizedResponse(
            name=name, description=_sentence(kind), parameters=kind.model_json_schema()
        )
        for name, kind in OPTIMIZERS.items()
    ]
    return Page(items=items, next=None)


@router.get("/methods", summary="How it can be looked at")
@requires(READ)
@cache
def list_methods() -> Page[MethodResponse]:
    """All methods of making a map."""
    items = [
        MethodResponse(
            name=method.name,
            title=method.title,
            description=method.description,
            formula=method.formula,
            source=method.source,
            year=method.year,
            cost=method.cost,
            attribution_level=method.attribution_level,
            targets=list(method.targets),
            parameters=method.parameters.model_json_schema(),
            recommended=method.name == RECOMMENDED,
        )
        for method in METHODS.values()
    ]
    return Page(items=items, next=None)


@router.get("/targets", summary="Which score a map can explain")
@requires(READ)
@cache
def list_targets() -> Page[TargetResponse]:
    """All targets."""
    items = [
        TargetResponse(name=t.name, formula=t.formula, description=t.description)
        for t in TARGETS.values()
    ]
    return Page(items=items, next=None)


@router.get("/colormaps", summary="In which colours")
@requires(READ)
@cache
def list_colormaps() -> Page[ColormapResponse]:
    """All colour tables."""
    items = [
        ColormapResponse(
            name=c.name,
            kind=c.kind,
            description=c.description,
            colors=color_table(c.name).tobytes().hex(),
        )
        for c in COLORMAPS.values()
    ]
    return Page(items=items, next=None)


def _sentence(kind: type[Parameters]) -> str:
    return (kind.__doc__ or "").strip().split("\n\n")[0]
