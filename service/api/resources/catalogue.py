"""The catalogue: architectures, optimizers, schedules, methods, targets, colormaps."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from service.api.pagination import Page
from service.api.scopes import requires
from service.core.cams.method import AttributionLevel, Cost
from service.core.cams.methods import METHODS, PAPER_METHODS, RECOMMENDED
from service.core.cams.targets import TARGETS
from service.core.datasets import DATASETS
from service.core.models import MODELS, StagedArchitecture, describe_layers
from service.core.optimizers import OPTIMIZERS
from service.core.parameters import Parameters
from service.core.render.colormaps import COLORMAPS, color_table
from service.core.schedules import SCHEDULES
from service.store.tokens import READ

# Responses are cached: the tables are constant, and generating JSON schemas is slow.
router = APIRouter(tags=["catalogue"])


class ParametrizedResponse(BaseModel):
    """An entry with parameters, given as JSON Schema with bounds, defaults and descriptions."""

    name: str
    description: str
    parameters: dict[str, Any]


class ArchitectureResponse(ParametrizedResponse):
    """A network architecture."""

    name: str = Field(description="The name in a spec, or the family of names before a colon.")
    layers: list[str] = Field(
        description="Layers that can be explained, with default parameters; empty where they "
        "depend on more than the architecture."
    )
    default_layer: str | None


class MethodResponse(BaseModel):
    """A method for class activation maps."""

    name: str
    title: str
    description: str
    formula: str = Field(
        description="Map before the final ReLU. A: activations, G = d score / d A."
    )
    source: str
    year: int
    cost: Cost = Field(
        description="`forward`: one forward pass for all classes; `gradient`: plus a gradient per "
        "class; `samples`: the same for each sample or step; `perturbations`: a forward pass per "
        "channel, patch or sample."
    )
    attribution_level: AttributionLevel = Field(
        description="Resolution of the map. `layer`: the layer's positions; `input`: the image's "
        "pixels, without a layer; `layers`: several layers combined."
    )
    targets: list[str] = Field(
        description="Supported targets, default first; empty for class-agnostic methods."
    )
    parameters: dict[str, Any] = Field(description="Parameters of the method, as JSON Schema.")
    recommended: bool = Field(description="The recommended method.")
    recorded: bool = Field(description="Whether every run records its maps of the probes.")


class TargetResponse(BaseModel):
    """A score to explain."""

    name: str
    formula: str = Field(description="x: pre-activations; o: outputs after the activation.")
    description: str
    shift_invariant: bool = Field(
        description="Whether maps stay the same if one function of the image is added to all "
        "pre-activations, which changes no probability."
    )


class ColormapResponse(BaseModel):
    """A colormap, under its matplotlib name."""

    name: str
    kind: str
    description: str
    colors: str = Field(description="256 colors as RRGGBB, lowest level first.")


@router.get("/architectures", summary="List architectures")
@requires(READ)
@cache
def list_architectures() -> Page[ArchitectureResponse]:
    """All architectures, with the bounds and defaults of their parameters."""
    source = DATASETS["mnist"]
    items = []
    for name, model_type in MODELS.items():
        layers = None
        if issubclass(model_type, StagedArchitecture):
            layers = describe_layers(
                model_type.model_validate({"name": name}),
                source.image_shape,
                len(source.class_names),
            )
        items.append(
            ArchitectureResponse(
                name=name,
                description=_description(model_type),
                parameters=model_type.model_json_schema(),
                layers=list(layers.shapes) if layers else [],
                default_layer=layers.default_layer if layers else None,
            )
        )
    return Page(items=items, next=None)


@router.get("/optimizers", summary="List optimizers")
@requires(READ)
@cache
def list_optimizers() -> Page[ParametrizedResponse]:
    """All optimizers, with the bounds and defaults of their parameters."""
    return _parametrized(OPTIMIZERS)


@router.get("/schedules", summary="List schedules of the learning rate")
@requires(READ)
@cache
def list_schedules() -> Page[ParametrizedResponse]:
    """All schedules of the learning rate, with the bounds and defaults of their parameters."""
    return _parametrized(SCHEDULES)


@router.get("/methods", summary="List methods")
@requires(READ)
@cache
def list_methods() -> Page[MethodResponse]:
    """All methods for class activation maps."""
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
            recorded=method.name in PAPER_METHODS,
        )
        for method in METHODS.values()
    ]
    return Page(items=items, next=None)


@router.get("/targets", summary="List targets")
@requires(READ)
@cache
def list_targets() -> Page[TargetResponse]:
    """All targets."""
    items = [
        TargetResponse(
            name=t.name,
            formula=t.formula,
            description=t.description,
            shift_invariant=t.is_shift_invariant,
        )
        for t in TARGETS.values()
    ]
    return Page(items=items, next=None)


@router.get("/colormaps", summary="List colormaps")
@requires(READ)
@cache
def list_colormaps() -> Page[ColormapResponse]:
    """All colormaps."""
    items = [
        ColormapResponse(
            name=c.name,
            kind=c.category,
            description=c.description,
            colors=color_table(c.name).tobytes().hex(),
        )
        for c in COLORMAPS.values()
    ]
    return Page(items=items, next=None)


def _parametrized(table: Mapping[str, type[Parameters]]) -> Page[ParametrizedResponse]:
    items = [
        ParametrizedResponse(
            name=name,
            description=_description(model_type),
            parameters=model_type.model_json_schema(),
        )
        for name, model_type in table.items()
    ]
    return Page(items=items, next=None)


def _description(model_type: type[Parameters]) -> str:
    return (model_type.__doc__ or "").strip().split("\n\n")[0]
