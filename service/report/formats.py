"""Formatting of numbers, times and settings; the filters of the templates."""

import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

DASH = "–"  # for a value that is missing or not finite


def number(value: float | None) -> str:
    """Four significant digits."""
    return DASH if value is None or not math.isfinite(value) else f"{value:.4g}"


def percent(value: float | None) -> str:
    """A fraction in 0..1 as a percentage with two decimals."""
    return DASH if value is None or not math.isfinite(value) else f"{value:.2%}"


def share(value: float) -> str:
    """A fraction in 0..1 as a percentage without decimals that it does not need: 84%, 97.5%."""
    return f"{round(value * 100, 1):g}%"


def threshold(epsilon: float) -> str:
    """Scientific notation as in a request: 1e-7."""
    return f"{epsilon:g}".replace("e-0", "e-")


def timestamp(time: datetime | None) -> str:
    """Date and time to the second, in UTC."""
    return DASH if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def flatten(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The fields of a spec by their dotted names, `architecture.kernel_size`, with their values."""
    for name, value in spec.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _field_value(value)


def _field_value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_field_value, value)) or DASH
    return (value or DASH) if isinstance(value, str) else json.dumps(value)
