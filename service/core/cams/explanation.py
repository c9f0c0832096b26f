"""A map's name: by which method, of which target, with which parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from torch import Tensor

from service.core.cams.cut import Cut
from service.core.cams.method import Method
from service.core.cams.methods import METHODS
from service.core.cams.targets import TARGETS, Target, parse_target
from service.core.parameters import Parameters
from service.errors import InvalidValue, UnknownName


@dataclass(frozen=True)
class MethodSpec:
    """A method with its target and parameters.

    Its text is `method`, `method/target` or `method/target?name=value&...`, and leaves out what is
    the default, so that equal explanations have one text.
    """

    method: Method
    target: Target | None  # None: the method looks at no class
    parameters: Parameters

    @classmethod
    def from_names(
        cls, method: str, target: str | None = None, parameters: Mapping[str, object] | None = None
    ) -> "MethodSpec":
        """Checked against the tables. Raises UnknownName and InvalidValue, which name the field."""
        if method not in METHODS:
            raise UnknownName("method", method, METHODS)
        found = METHODS[method]
        return cls(found, _target(found, target), _parameters(found, parameters or {}))

    @classmethod
    def parse(cls, text: str) -> "MethodSpec":
        """From its text. Raises UnknownName and InvalidValue."""
        return _parse(text)

    def compute(self, cut: Cut, classes: Sequence[int]) -> Tensor:
        """Maps before their last ReLU (N, len(classes), H, W)."""
        target = self.target or TARGETS["unit"]
        everyone = cut.pre_activations.shape[1]
        if target.contrast_class is not None and target.contrast_class >= everyone:
            raise InvalidValue("contrast_class", f"is a class index, 0 to {everyone - 1}")
        return self.method.compute(cut, target, self.parameters, classes)

    def __str__(self) -> str:
        text = self.method.name
        if self.target is not None and str(self.target) != self.method.targets[0]:
            text += f"/{self.target}"
        given = self.parameters.model_dump(exclude_defaults=True)
        if given:
            text += "?" + "&".join(f"{name}={value}" for name, value in sorted(given.items()))
        return text


@cache
def _parse(text: str) -> MethodSpec:
    path, _, query = text.partition("?")
    method, _, target = path.partition("/")
    given = dict(part.split("=", 1) for part in query.split("&") if "=" in part)
    return MethodSpec.from_names(method, target or None, given)


def _target(method: Method, text: str | None) -> Target | None:
    if not method.targets:
        if text is not None:
            raise InvalidValue("target", f"{method.name} looks at no class, so it has no target")
        return None
    target = parse_target(text or method.targets[0])
    if target.name not in method.targets:
        if target.name not in TARGETS:
            raise UnknownName("target", target.name, TARGETS)
        raise InvalidValue(
            "target",
            f"{method.name} is defined for {', '.join(method.targets)} alone",
            {"enum": list(method.targets)},
        )
    return target


def _parameters(method: Method, given: Mapping[str, object]) -> Parameters:
    known = method.parameters.model_fields
    for name in given:
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise InvalidValue(name, f"{method.name} has no such parameter: {takes}")
    try:
        # From text, as in a query, so numbers are read; their bounds are checked all the same.
        return method.parameters.model_validate(dict(given), strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidValue(str(first["loc"][0]), _complaint(first)) from error


def _complaint(error: ErrorDetails) -> str:
    """What is wrong; of a validator of our own its words, which pydantic puts a prefix before."""
    return str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]
