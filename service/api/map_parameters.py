"""Query parameters of heatmaps, strips, contact sheets and tables of blank maps."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, create_model

from service.core.cams import DEFAULT_EPSILON
from service.core.cams.methods import METHODS, PAPER_METHODS, MethodSpec, method_parameters
from service.core.cams.targets import TARGETS
from service.core.render import DEFAULT_OPACITY
from service.core.render.cells import Style
from service.core.render.colormaps import COLORMAPS, DIVERGING_DEFAULT, SEQUENTIAL_DEFAULT
from service.flows.maps.pictures import Rendering
from service.flows.maps.request import MapQuery
from service.flows.maps.scales import ScaleName


def _names(table: dict[str, Any]) -> dict[str, Any]:
    return {"enum": list(table)}


Text = Annotated[str, Field(max_length=100)]
Epochs = Annotated[
    str,
    Field(
        max_length=1000,
        description="Epochs: `7`, `1,5,9` or `1:100:2` (start:stop:step, stop included).",
        examples=["1:100:2"],
    ),
]


def _method_parameter_fields() -> dict[str, Any]:
    """The parameters of all methods, each an optional field with the widest bounds."""
    fields = method_parameters()
    for field in fields.values():
        field.description = "Parameter of some methods; see `GET /methods` for bounds and default."
    return {name: (field.annotation, field) for name, field in fields.items()}


# An unknown parameter is a typo, and would otherwise silently select a default.
MethodParameters = create_model(
    "MethodParameters", __config__=ConfigDict(extra="forbid"), **_method_parameter_fields()
)


class MethodOptions(MethodParameters):
    """Target, parameters and layer of methods."""

    target: Text | None = Field(
        None,
        description="The score to explain, from `GET /targets`. Default: the method's first.",
        json_schema_extra=_names(TARGETS),
    )
    contrast_class: Text | None = Field(
        None, description="With `target=contrast`: the class to contrast with."
    )
    layer: Text | None = Field(
        None,
        description="A layer of the architecture, or several, `conv1,conv2`, whose maps are "
        "averaged. Default: the last convolutional stage.",
    )

    @property
    def method_parameters(self) -> dict[str, object]:
        """The method's own parameters that the request sets."""
        return self.model_dump(include=set(MethodParameters.model_fields), exclude_none=True)

    def method_query(self, run_id: int, method: str) -> MapQuery:
        """The query of a method with these options."""
        return MapQuery(
            run_id,
            method,
            layer=self.layer,
            target=self.target,
            contrast_class=self.contrast_class,
            parameters=self.method_parameters,
        )


class MethodSelection(MethodOptions):
    """A method with its options."""

    method: Text = Field(
        "proposed", description="A name from `GET /methods`.", json_schema_extra=_names(METHODS)
    )

    def query(self, run_id: int) -> MapQuery:
        """The query of these parameters."""
        return self.method_query(run_id, self.method)


class ImageSelection(BaseModel):
    """An image and a class."""

    image: Text | None = Field(
        None, description="`test:7`, `train:12` or `upload:<id>`. Default: the run's first probe."
    )
    class_name: Text | None = Field(
        None,
        alias="class",
        description="Index or name. Default: the image's own label; for an upload, the class that "
        "the epoch's network predicts.",
    )


class MapSelection(MethodSelection, ImageSelection):
    """An image and a class, with a method and a layer."""

    def query(self, run_id: int) -> MapQuery:
        """The query of these parameters."""
        return replace(super().query(run_id), image=self.image, class_name=self.class_name)


class Appearance(BaseModel):
    """Style, scale, colormap and opacity."""

    style: Style = Field(Style.OVERLAY, description="How the map is drawn.")
    scale: ScaleName | None = Field(
        None,
        description="`map`: equation 3; `strip`: one scale over all epochs of this image, class "
        "and method; `run`: over all epochs of all probes. Default: `map` for a single map; for "
        "strips, sheets and animations `strip` for the two methods that every run records, whose "
        "peaks fall by orders of magnitude, and `map` for others.",
    )
    colormap: Text | None = Field(
        None,
        description=f"A name from `GET /colormaps`. Default: {SEQUENTIAL_DEFAULT}; "
        f"{DIVERGING_DEFAULT} for `style=signed`.",
        json_schema_extra=_names(COLORMAPS),
    )

    opacity: float = Field(
        DEFAULT_OPACITY,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Of the colors of an overlay where the map is at the top of its scale. They "
        "fade with the map: a pixel is `a * color(u) + (1 - a) * image`, with "
        "`a = opacity * sqrt(u)` and u the scaled map, 0..1.",
    )

    def rendering(self, size: int) -> Rendering:
        """The rendering of these parameters; `size` is in pixels."""
        return Rendering(self.style, self.scale, self.colormap, size, self.opacity)


class CamParameters(MapSelection, Appearance):
    """Parameters of a single map's picture."""

    size: int = Field(224, ge=16, le=1024, description="Side in pixels.")


class StripParameters(MapSelection, Appearance):
    """Parameters of a strip."""

    epochs: Epochs = "0:"
    size: int = Field(112, ge=16, le=512, description="Side of a cell in pixels.")


class AnimationParameters(MethodOptions, ImageSelection, Appearance):
    """Parameters of an animation."""

    method: list[Text] = Field(
        list(PAPER_METHODS),
        min_length=1,
        max_length=4,
        description="Methods, as in `layer-cam` or `layer-cam/centered`, side by side; repeatable. "
        "`target` and parameters are those of each that states none. Default: the two that every "
        "run records.",
    )
    epochs: Epochs = "0:"
    size: int = Field(224, ge=16, le=512, description="Side of a cell in pixels.")
    curve: bool = Field(True, description="Accuracies below the maps, with a marker of the epoch.")

    def queries(self, run_id: int) -> list[MapQuery]:
        """The query of each method."""
        return [self._query(run_id, text) for text in self.method]

    def _query(self, run_id: int, text: str) -> MapQuery:
        if "/" in text or "?" in text:
            query = MapQuery.of_method(run_id, MethodSpec.parse(text), self.layer)
        else:
            query = self.method_query(run_id, text)
        return replace(query, image=self.image, class_name=self.class_name)


class SheetParameters(MethodSelection, Appearance):
    """Parameters of a contact sheet."""

    epochs: Epochs = "1:"
    size: int = Field(48, ge=16, le=256, description="Side of a cell in pixels.")


class BlankParameters(BaseModel):
    """Parameters of a table of blank maps."""

    model_config = ConfigDict(extra="forbid")

    epsilon: float = Field(
        DEFAULT_EPSILON,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="A map is blank if its peak is at most this.",
    )
    epochs: Epochs = "1:"
    method: Annotated[list[Text], Field(max_length=20)] = Field(
        default_factory=list,
        description="Methods to count, such as `layer-cam` or `layer-cam/centered`; repeatable. "
        "Default: the two that every run records.",
    )


CamQuery = Annotated[CamParameters, Query()]
AnimationQuery = Annotated[AnimationParameters, Query()]
StripQuery = Annotated[StripParameters, Query()]
SheetQuery = Annotated[SheetParameters, Query()]
BlankQuery = Annotated[BlankParameters, Query()]
