"""The table of methods, and the names of maps: a method with its target and parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo
from torch import Tensor

from service.core.cams.activation import ACTIVATION_METHODS
from service.core.cams.attribution import ATTRIBUTION_METHODS
from service.core.cams.backpropagation import BACKPROPAGATION_METHODS
from service.core.cams.gradient import CONVENTIONAL, GRADIENT_METHODS, PROPOSED
from service.core.cams.gradient_sampling import LAYER_INTEGRATED_GRADIENTS
from service.core.cams.layer_pass import LayerPass
from service.core.cams.method import Method
from service.core.cams.perturbation import PERTURBATION_METHODS
from service.core.cams.targets import TARGETS, Target, parse_target
from service.core.parameters import Parameters
from service.errors import InvalidValue, UnknownName
from service.field_errors import field_errors

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        *GRADIENT_METHODS,
        *ACTIVATION_METHODS,
        *PERTURBATION_METHODS,
        *BACKPROPAGATION_METHODS,
        *ATTRIBUTION_METHODS,
    )
}

PAPER_METHODS = (CONVENTIONAL.name, PROPOSED.name)
"""The paper's two methods, which every run records at every epoch."""

RECOMMENDED = LAYER_INTEGRATED_GRADIENTS.name
"""Recommended outside the paper's setting: blank for none of 2,500 maps, faithful, and
class-discriminative. docs/methods.md states what is proved and what is measured."""


def method_parameters() -> dict[str, FieldInfo]:
    """Every parameter of some method, as an optional field with the widest bounds of all methods.

    For interfaces that take the parameters of any method: `MethodSpec.from_names` checks them
    against the chosen method. The default is None; there is no description.
    """
    fields: dict[str, list[FieldInfo]] = {}
    for method in METHODS.values():
        for name, field in method.parameters.model_fields.items():
            fields.setdefault(name, []).append(field)
    return {name: _widest_field(variants) for name, variants in fields.items()}


def _widest_field(fields: Sequence[FieldInfo]) -> FieldInfo:
    is_integer = fields[0].annotation is int
    bounds: dict[str, list[float]] = {"gt": [], "ge": [], "le": []}
    for constraint in (constraint for field in fields for constraint in field.metadata):
        for name, values in bounds.items():
            if hasattr(constraint, name):
                values.append(getattr(constraint, name))
    if is_integer:
        bounds["ge"] += [limit + 1 for limit in bounds["gt"]]
        bounds["gt"] = []
    constraints: dict[str, Any] = {
        name: max(values) if name == "le" else min(values)
        for name, values in bounds.items()
        if values
    }
    annotation: Any = int | None if is_integer else float | None
    if not is_integer:
        constraints["allow_inf_nan"] = False
    return FieldInfo.from_annotated_attribute(annotation, Field(None, **constraints))


@dataclass(frozen=True)
class MethodSpec:
    """A method with its target and parameters.

    Its text is `method`, `method/target` or `method/target?name=value&...`, without defaults, so
    that equal specs have equal texts.
    """

    method: Method
    target: Target | None  # None: the method is class-agnostic
    parameters: Parameters

    @classmethod
    def from_names(
        cls, method: str, target: str | None = None, parameters: Mapping[str, object] | None = None
    ) -> "MethodSpec":
        """Raises UnknownName and InvalidValue, which name the field."""
        if method not in METHODS:
            raise UnknownName("method", method, METHODS)
        entry = METHODS[method]
        return cls(entry, _check_target(entry, target), _check_parameters(entry, parameters or {}))

    @classmethod
    def parse(cls, text: str) -> "MethodSpec":
        """The spec of that text. Raises UnknownName and InvalidValue."""
        return _parse(text)

    def compute(self, layer_pass: LayerPass, classes: Sequence[int]) -> Tensor:
        """Maps before their last ReLU (N, len(classes), H, W)."""
        target = self.target or TARGETS["unit"]
        count = layer_pass.pre_activations.shape[1]
        if target.contrast_class is not None and target.contrast_class >= count:
            raise InvalidValue("contrast_class", f"is a class index, 0 to {count - 1}")
        return self.method.compute(layer_pass, target, self.parameters, classes)

    def __str__(self) -> str:
        text = self.method.name
        if self.target is not None and str(self.target) != self.method.targets[0]:
            text += f"/{self.target}"
        values = self.parameters.model_dump(exclude_defaults=True)
        if values:
            text += "?" + "&".join(f"{name}={value}" for name, value in sorted(values.items()))
        return text


@cache
def _parse(text: str) -> MethodSpec:
    path, _, query = text.partition("?")
    method, _, target = path.partition("/")
    parameters = dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair)
    return MethodSpec.from_names(method, target or None, parameters)


def _check_target(method: Method, text: str | None) -> Target | None:
    if not method.targets:
        if text is not None:
            raise InvalidValue("target", f"{method.name} is class-agnostic, so it has no target")
        return None
    target = parse_target(text or method.targets[0])
    if target.name not in method.targets:
        raise InvalidValue(
            "target",
            f"{method.name} is defined only for {', '.join(method.targets)}",
            {"enum": list(method.targets)},
        )
    return target


def _check_parameters(method: Method, values: Mapping[str, object]) -> Parameters:
    fields = method.parameters.model_fields
    for name in values:
        if name not in fields:
            valid = f"it takes {', '.join(fields)}" if fields else "it takes none"
            raise InvalidValue(name, f"{method.name} has no such parameter: {valid}")
    try:
        # From text, as in a query, so numbers are parsed; their bounds are checked all the same.
        return method.parameters.model_validate(dict(values), strict=False)
    except ValidationError as error:
        first_error = field_errors(error.errors(), method.parameters.model_json_schema())[0]
        raise InvalidValue(
            first_error.field,
            first_error.message,
            first_error.allowed,
            code=first_error.code,
            context=first_error.context,
        ) from error
