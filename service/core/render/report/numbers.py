"""Numbers, dates and values of a spec as a reader has them."""

import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

ABSENT = "–"


def number(value: float | None) -> str:
    """To four digits; a dash for none, and for what is no number."""
    return ABSENT if value is None or not math.isfinite(value) else f"{value:.4g}"


def percent(value: float | None) -> str:
    """Of a share 0..1, to a hundredth; a dash for none, and for what is no number."""
    return ABSENT if value is None or not math.isfinite(value) else f"{value:.2%}"


def threshold(epsilon: float) -> str:
    """As it is written in a request: 1e-7."""
    return f"{epsilon:g}".replace("e-0", "e-")


def moment(when: datetime) -> str:
    """A date and time, to the second in UTC."""
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def flat(spec: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """A spec's fields by their whole names, `architecture.kernel_size`, with their values."""
    for name, value in spec.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", _value(value)


def _value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or ABSENT
    return (value or ABSENT) if isinstance(value, str) else json.dumps(value)
