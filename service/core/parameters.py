"""The base of everything that a client may set: strict, closed, frozen."""

from pydantic import BaseModel, ConfigDict


class Parameters(BaseModel):
    """Refuses unknown fields, text for numbers, and numbers that are none (NaN, infinities)."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
