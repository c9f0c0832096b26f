"""From the plan of an experiment to the specs of its runs."""

import copy
import itertools
import math
import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import JsonValue, ValidationError

from service.core.experiments.plan import MAX_RUNS, ExperimentPlan, FieldValues
from service.core.spec import RunSpec
from service.errors import InvalidSettings, InvalidValue
from service.field_errors import FieldError, field_errors, find_schema

MAX_NAME = 200
MAX_ERRORS = 20

Setting = dict[str, JsonValue]
"""The values of a setting, by dotted path."""


@dataclass(frozen=True)
class PlannedRun:
    """A run of a plan. Runs of the first seed come first, in the order of the settings."""

    position: int
    setting: Setting
    seed: int
    spec: RunSpec


def list_settings(plan: ExperimentPlan) -> list[Setting]:
    """The settings of a plan; the same plan has the same settings.

    A grid is in the order of the fields, of which the last varies fastest. Raises InvalidValue for
    more than MAX_RUNS settings.
    """
    if plan.setting_count > MAX_RUNS:
        raise _too_many(plan.setting_count, "settings")
    if plan.settings is not None:
        return [dict(setting) for setting in plan.settings]
    if plan.samples is not None:
        return list(_samples(plan, plan.samples))
    values = [field.values or [] for field in plan.fields.values()]
    return [dict(zip(plan.fields, row, strict=True)) for row in itertools.product(*values)]


def plan_runs(plan: ExperimentPlan, seeds: Collection[int] | None = None) -> list[PlannedRun]:
    """The runs of a plan, with validated specs. `seeds`: those of the plan, by default all.

    Raises InvalidValue for more than MAX_RUNS runs, and InvalidSettings for values that are not
    valid; the errors name the field of the plan and the setting.
    """
    settings = list_settings(plan)
    run_count = len(settings) * len(plan.seeds)
    if run_count > MAX_RUNS:
        raise _too_many(run_count, "runs")
    errors: dict[str, InvalidValue] = {}  # one per field: its first setting
    run_plans = []
    for seed_index, seed in enumerate(plan.seeds):
        if seeds is not None and seed not in seeds:
            continue
        for index, setting in enumerate(settings):
            values = _spec_values(plan, setting, seed)
            try:
                spec = RunSpec.model_validate(values)
            except ValidationError as error:
                for invalid in _errors_of_setting(error, setting):
                    errors.setdefault(invalid.field, invalid)
                continue
            position = seed_index * len(settings) + index
            run_plans.append(PlannedRun(position, setting, seed, spec))
        if errors:
            raise InvalidSettings(list(errors.values())[:MAX_ERRORS])
    return run_plans


def describe_setting(setting: Setting) -> str:
    """The setting in one line: `learning_rate 0.1, dropout 0.5`."""
    names = _short_names(tuple(setting))
    return ", ".join(f"{names[path]} {format_value(value)}" for path, value in setting.items())


def format_value(value: JsonValue) -> str:
    """A value of a field for display: numbers with four significant digits."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int | float):
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    if isinstance(value, dict):
        return str(value.get("name", "")) or ", ".join(value)
    if isinstance(value, list):
        return ", ".join(map(format_value, value))
    return value


def _too_many(count: int, noun: str) -> InvalidValue:
    return InvalidValue(
        "fields",
        f"gives {count} {noun}, and an experiment has at most {MAX_RUNS} runs: leave out values, "
        "or draw samples",
        allowed={"maximum": MAX_RUNS},
        code="too_many_runs",
        context={"count": count, "maximum": MAX_RUNS},
    )


def _samples(plan: ExperimentPlan, count: int) -> Iterator[Setting]:
    # Python's generator: its sequence of a seed is the same on every machine and version.
    generator = random.Random(plan.sampling_seed)  # noqa: S311  not for secrets
    for _ in range(count):
        yield {path: _draw(generator, path, field) for path, field in plan.fields.items()}


def _draw(generator: random.Random, path: str, field: FieldValues) -> JsonValue:
    if field.values is not None:
        return field.values[int(generator.random() * len(field.values))]
    if field.uniform is not None:
        low, high = field.uniform
        value = low + (high - low) * generator.random()
    else:
        low, high = field.log_uniform or (1.0, 1.0)
        value = math.exp(math.log(low) + (math.log(high) - math.log(low)) * generator.random())
        value = min(max(value, low), high)  # rounding may leave the range
    return round(value) if _is_whole_number(path) else value


@cache
def _run_schema() -> dict[str, Any]:
    # Generating it takes longer than validating a spec.
    return RunSpec.model_json_schema()


@cache
def _is_whole_number(path: str) -> bool:
    schema = find_schema(path.split("."), _run_schema())
    return schema is not None and schema.get("type") == "integer"


def _spec_values(plan: ExperimentPlan, setting: Setting, seed: int) -> dict[str, Any]:
    values: dict[str, Any] = copy.deepcopy(dict(plan.base))
    # Shallow paths first: a whole object does not replace the values of its own fields.
    for path in sorted(setting, key=lambda path: path.count(".")):
        _set_value(values, path, setting[path])
    # The setting first: the end of a long name is cut off where there is no space.
    setting_text = ", ".join(filter(None, [describe_setting(setting), f"seed {seed}"]))
    name = str(plan.base.get("name") or plan.name)
    values["name"] = (f"{setting_text} · {name}" if name else setting_text)[:MAX_NAME].strip(" ·")
    values["seed"] = seed
    return values


def _set_value(values: dict[str, Any], path: str, value: JsonValue) -> None:
    """Set the value at a dotted path. Raises InvalidValue below a value that has no fields."""
    *parents, key = path.split(".")
    node: Any = values
    for depth, part in enumerate(parents, 1):
        if isinstance(node, dict) and part not in node:
            node[part] = _default_node(".".join(parents[:depth]))
        node = node[part] if isinstance(node, dict) else None
        if not isinstance(node, dict | list):
            raise InvalidValue(f"fields.{path}", "is below a value that has no fields")
    if isinstance(node, list):
        if not (key.isdigit() and int(key) < len(node)):
            raise InvalidValue(f"fields.{path}", f"must end with 0 to {len(node) - 1}")
        node[int(key)] = copy.deepcopy(value)
    else:
        node[key] = copy.deepcopy(value)


def _default_node(path: str) -> dict[str, Any] | list[Any]:
    """What contains a field of which the base has no value: the list of the defaults, or {}."""
    schema = find_schema(path.split("."), _run_schema())
    default = (schema or {}).get("default")
    return list(default) if isinstance(default, list) else {}


def _errors_of_setting(error: ValidationError, setting: Setting) -> Iterator[InvalidValue]:
    details = error.errors(include_input=False, include_url=False)
    for invalid in field_errors(details, _run_schema()):
        yield InvalidValue(
            _plan_field(invalid, setting),
            f"{invalid.message} (in the setting {describe_setting(setting)})"
            if setting
            else invalid.message,
            invalid.allowed,
            code=invalid.code,
            context=invalid.context,
        )


def _plan_field(error: FieldError, setting: Setting) -> str:
    """The field of the plan that has the invalid value: one that varies, or one of the base."""
    for path in setting:
        if f"{error.field}.".startswith(f"{path}."):
            return f"fields.{error.field}"
        if path.startswith(f"{error.field}."):
            return f"fields.{path}"
    return f"base.{error.field}".rstrip(".")


@cache
def _short_names(paths: tuple[str, ...]) -> dict[str, str]:
    """The last part of each path that says what it is; the whole path where two have the same."""
    last_parts = [_short_name(path) for path in paths]
    return {
        path: path if last_parts.count(part) > 1 else part
        for path, part in zip(paths, last_parts, strict=True)
    }


def _short_name(path: str) -> str:
    parent, _, name = path.rpartition(".")
    if name.isdigit():
        return f"{_short_name(parent)}.{name}"
    return _short_name(parent) if name == "name" and parent else name
