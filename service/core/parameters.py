"""Base of the models of client input: strict, closed, frozen."""

from pydantic import BaseModel, ConfigDict


class Parameters(BaseModel):
    """Rejects unknown fields, text for numbers, NaN and infinities."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
