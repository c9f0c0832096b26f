"""What a benchmark found, as Markdown for people and as JSON for programs."""

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.timing import Ratio, Target, Timing


@dataclass(frozen=True)
class Figure:
    """What was measured in a unit of its own, and the bound that it is to keep."""

    name: str
    unit: str
    values: list[float]
    target: Target | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True)
class Report:
    """One benchmark's result; `conditions` says in words what was measured."""

    name: str
    conditions: str
    timings: Sequence[Timing]
    ratios: Sequence[Ratio]
    figures: Sequence[Figure] = ()

    def markdown(self) -> str:
        """Tables: seconds by contender, the ratios and the figures with what is asked of them."""
        timings = _table(
            ("contender", "median", "min", "max"),
            (
                (t.name, *map(_duration, (t.median, min(t.seconds), max(t.seconds))))
                for t in self.timings
            ),
        )
        ratios = _table(
            ("ratio", "median", "min", "max", "asked"),
            (
                (
                    r.name,
                    *map("{:.3g}".format, (r.median, min(r.values), max(r.values))),
                    _target(r),
                )
                for r in self.ratios
            ),
        )
        figures = _table(
            ("figure", "unit", "median", "min", "max", "asked"),
            (
                (
                    *(f.name, f.unit),
                    *map("{:.4g}".format, (f.median, min(f.values), max(f.values))),
                    _target(f),
                )
                for f in self.figures
            ),
        )
        tables = ((self.timings, timings), (self.ratios, ratios), (self.figures, figures))
        text = "\n\n".join(table for values, table in tables if values)
        return f"### {self.name}\n\n{self.conditions}\n\n{text}\n"

    def as_json(self) -> dict[str, object]:
        """All values, not only their medians."""
        return {
            "name": self.name,
            "conditions": self.conditions,
            "seconds": {t.name: {"median": t.median, "rounds": t.seconds} for t in self.timings},
            "ratios": {
                r.name: {
                    "median": r.median,
                    "rounds": r.values,
                    "target": str(r.target) if r.target else None,
                    "met": r.target.met_by(r.median) if r.target else None,
                }
                for r in self.ratios
            },
            "figures": {
                f.name: {
                    "unit": f.unit,
                    "median": f.median,
                    "rounds": f.values,
                    "target": str(f.target) if f.target else None,
                    "met": f.target.met_by(f.median) if f.target else None,
                }
                for f in self.figures
            },
        }


def machine() -> str:
    """One line: the processor, its cores, torch and the threads that it takes."""
    return (
        f"{_processor()}, {os.cpu_count()} cores; {platform.system()} {platform.machine()}; "
        f"Python {platform.python_version()}, torch {torch.__version__} "
        f"with {torch.get_num_threads()} threads"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown processor"


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.2f} ms"


def _target(row: Ratio | Figure) -> str:
    if row.target is None:
        return ""
    return f"{row.target}: {'met' if row.target.met_by(row.median) else 'NOT met'}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))
