"""Base of the models of client input: strict, closed, frozen."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Discriminator


class Parameters(BaseModel):
    """Rejects unknown fields, text for numbers, NaN and infinities."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def name_discriminator(default: str) -> Discriminator:
    """Selects a variant of a union by its `name`; input without one is the `default` variant.

    A request that changes one parameter of the default need not repeat its name.
    """

    def name_of(value: Any) -> Any:
        if isinstance(value, dict):
            return value.get("name", default)
        return getattr(value, "name", None)

    return Discriminator(name_of)
