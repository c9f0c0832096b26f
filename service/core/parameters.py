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

    A request that changes one parameter of the default need not repeat its name. A name such as
    `torchvision:resnet18` selects the variant `torchvision`.
    """

    def name_of(value: Any) -> Any:
        name = value.get("name", default) if isinstance(value, dict) else getattr(value, "name", 0)
        return name.partition(":")[0] if isinstance(name, str) else name

    return Discriminator(name_of)
