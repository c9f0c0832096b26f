"""Types of operators' parameters: which arguments a step may give."""

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

from camreel.program.references import Argument, BatchMultiple, TensorReference, ValueReference

MAX_INTEGER = 2**31 - 1
MAX_LIST_LENGTH = 4096
MAX_DIMENSIONS = 8


class ParameterType(ABC):
    """What arguments of a parameter may be."""

    @abstractmethod
    def check(self, argument: Argument) -> None:
        """Raises ValueError with the reason for an argument of another type or out of range."""


@dataclass(frozen=True)
class Tensorial(ParameterType):
    """A value of the program or one of its tensors; `or_number` also a number."""

    or_number: bool = False

    def check(self, argument: Argument) -> None:
        """Raises ValueError for another type."""
        if isinstance(argument, ValueReference | TensorReference):
            return
        if self.or_number:
            Number().check(argument)
        else:
            raise ValueError("must be a value or a tensor")


@dataclass(frozen=True)
class Tensorials(ParameterType):
    """A list of values and tensors; `or_null` also null, as a full slice of an index."""

    or_null: bool = False

    def check(self, argument: Argument) -> None:
        """Raises ValueError for another type, an empty or a long list."""
        if not isinstance(argument, tuple) or not 0 < len(argument) <= MAX_LIST_LENGTH:
            raise ValueError(f"must be a list of 1 to {MAX_LIST_LENGTH} values")
        for item in argument:
            if not (self.or_null and item is None):
                Tensorial().check(item)


@dataclass(frozen=True)
class Integer(ParameterType):
    """A whole number within bounds."""

    minimum: int = -MAX_INTEGER
    maximum: int = MAX_INTEGER

    def check(self, argument: Argument) -> None:
        """Raises ValueError for another type and out of bounds."""
        if isinstance(argument, bool) or not isinstance(argument, int):
            raise ValueError("must be a whole number")  # noqa: TRY004  as documented
        if not self.minimum <= argument <= self.maximum:
            raise ValueError(f"must be between {self.minimum} and {self.maximum}")


@dataclass(frozen=True)
class Integers(ParameterType):
    """A list of whole numbers within bounds."""

    minimum: int = -MAX_INTEGER
    maximum: int = MAX_INTEGER
    least_length: int = 1
    greatest_length: int = MAX_DIMENSIONS

    def check(self, argument: Argument) -> None:
        """Raises ValueError for another type, length and out of bounds."""
        if (
            not isinstance(argument, tuple)
            or not self.least_length <= len(argument) <= self.greatest_length
        ):
            raise ValueError(
                f"must be a list of {self.least_length} to {self.greatest_length} whole numbers"
            )
        for item in argument:
            Integer(self.minimum, self.maximum).check(item)


@dataclass(frozen=True)
class Dimensions(ParameterType):
    """A shape: sizes >= 0, of which one may be a multiple of the number of images."""

    def check(self, argument: Argument) -> None:
        """Raises ValueError for another type and out of bounds."""
        if not isinstance(argument, tuple) or len(argument) > MAX_DIMENSIONS:
            raise ValueError(f"must be a list of at most {MAX_DIMENSIONS} sizes")
        if sum(isinstance(item, BatchMultiple) for item in argument) > 1:
            raise ValueError("may have one dimension of the batch")
        for item in argument:
            size = item.factor if isinstance(item, BatchMultiple) else item
            Integer(1 if isinstance(item, BatchMultiple) else 0).check(size)


@dataclass(frozen=True)
class Number(ParameterType):
    """A number or an infinity; a truth value too, as in torch."""

    def check(self, argument: Argument) -> None:
        """Raises ValueError for another type, and for whole numbers beyond 64 bits."""
        if not isinstance(argument, int | float) or math.isnan(argument):
            raise ValueError("must be a number")
        if isinstance(argument, int) and not -(2**63) <= argument < 2**63:
            raise ValueError("must fit in 64 bits")


@dataclass(frozen=True)
class Flag(ParameterType):
    """True or false."""

    def check(self, argument: Argument) -> None:
        """Raises ValueError for another type."""
        if not isinstance(argument, bool):
            raise ValueError("must be true or false")  # noqa: TRY004  as documented


@dataclass(frozen=True)
class Choice(ParameterType):
    """One of some names."""

    names: tuple[str, ...]

    def check(self, argument: Argument) -> None:
        """Raises ValueError for another name."""
        if not isinstance(argument, str) or argument not in self.names:
            raise ValueError(f"must be one of {', '.join(self.names)}")


@dataclass(frozen=True)
class Equation(ParameterType):
    """An equation of Einstein's notation for one or two tensors, as `bhid,bhjd->bhij`."""

    def check(self, argument: Argument) -> None:
        """Raises ValueError for another form."""
        if not isinstance(argument, str) or not re.fullmatch(
            r"[a-zA-Z]{0,8}(,[a-zA-Z]{0,8})?->[a-zA-Z]{0,8}", argument
        ):
            raise ValueError("must be an equation as bhid,bhjd->bhij")


@dataclass(frozen=True)
class Optional(ParameterType):
    """Null, or an argument of another type."""

    type: ParameterType

    def check(self, argument: Argument) -> None:
        """Raises ValueError for anything else."""
        if argument is not None:
            self.type.check(argument)


class _Required:
    """Type of the default of parameters without a default."""


REQUIRED = _Required()


@dataclass(frozen=True)
class Parameter:
    """A parameter of an operator, by name."""

    name: str
    type: ParameterType
    default: Argument | _Required = REQUIRED

    @property
    def is_required(self) -> bool:
        """Whether each step has to give it."""
        return self.default is REQUIRED
