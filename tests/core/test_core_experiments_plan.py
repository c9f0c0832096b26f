"""Plans of experiments: grids, samples, lists, and errors that name the field."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from service.core.experiments.plan import MAX_RUNS, ExperimentPlan, value_at
from service.core.experiments.settings import describe_setting, list_settings, plan_runs
from service.errors import InvalidSettings, InvalidValue

RATE, DROPOUT = "optimizer.learning_rate", "architecture.dropout"


def plan_of(**values: Any) -> ExperimentPlan:
    return ExperimentPlan.model_validate(values)


def test_grid_has_all_combinations_of_which_the_last_field_varies_fastest() -> None:
    plan = plan_of(
        base={"dataset": "digits", "epochs": 2},
        fields={RATE: {"values": [0.1, 1.0]}, DROPOUT: {"values": [0.0, 0.5]}},
        seeds=[4, 7],
    )
    assert list_settings(plan) == [
        {RATE: 0.1, DROPOUT: 0.0},
        {RATE: 0.1, DROPOUT: 0.5},
        {RATE: 1.0, DROPOUT: 0.0},
        {RATE: 1.0, DROPOUT: 0.5},
    ]
    run_plans = plan_runs(plan)
    assert [run.position for run in run_plans] == list(range(8))
    assert [run.seed for run in run_plans] == [4] * 4 + [7] * 4
    last = run_plans[-1].spec
    assert (last.optimizer.learning_rate, last.seed, last.epochs) == (1.0, 7, 2)
    assert value_at(last.model_dump(), DROPOUT) == 0.5
    assert last.name == "learning_rate 1, dropout 0.5, seed 7"
    assert plan_runs(plan, [7]) == run_plans[4:]


def test_plan_without_fields_repeats_the_base_with_each_seed() -> None:
    run_plans = plan_runs(plan_of(base={"dataset": "digits"}, seeds=[1, 2, 3]))
    assert [(run.setting, run.spec.seed) for run in run_plans] == [({}, 1), ({}, 2), ({}, 3)]


def test_fields_of_a_variant_and_elements_of_a_list_can_vary() -> None:
    plan = plan_of(
        base={"dataset": "digits"},
        fields={
            "optimizer.name": {"values": ["sgd", "adam"]},
            "architecture.channels.1": {"values": [4]},
        },
    )
    specs = [run.spec for run in plan_runs(plan)]
    assert [spec.optimizer.name for spec in specs] == ["sgd", "adam"]
    assert value_at(specs[0].model_dump(), "architecture.channels") == [32, 4]
    assert describe_setting(plan_runs(plan)[0].setting) == "optimizer sgd, channels.1 4"


def test_samples_lie_in_their_ranges_and_repeat_with_the_seed() -> None:
    fields = {
        RATE: {"log_uniform": [1e-3, 1.0]},
        DROPOUT: {"uniform": [0.2, 0.4]},
        "batch_size": {"uniform": [10, 12]},
        "architecture.kernel_size": {"values": [1, 3]},
    }
    plan = plan_of(base={"dataset": "digits"}, fields=fields, samples=200, sampling_seed=3)
    settings = list_settings(plan)
    assert settings == list_settings(plan)
    assert settings != list_settings(plan.model_copy(update={"sampling_seed": 4}))
    exponents = [math.log10(setting[RATE]) for setting in settings]  # type: ignore[arg-type]
    assert -3 <= min(exponents) < -2.8
    assert -0.2 < max(exponents) <= 0
    # Uniform in the exponent, so half of them are below 10^-1.5.
    assert 0.4 < sum(exponent < -1.5 for exponent in exponents) / 200 < 0.6
    assert all(0.2 <= setting[DROPOUT] <= 0.4 for setting in settings)  # type: ignore[operator]
    assert {setting["batch_size"] for setting in settings} == {10, 11, 12}
    assert {setting["architecture.kernel_size"] for setting in settings} == {1, 3}
    assert all(isinstance(setting["batch_size"], int) for setting in settings)


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        ({"fields": {RATE: {"values": [0.1, -1.0]}}}, f"fields.{RATE}"),
        ({"fields": {"optimizer.speed": {"values": [1]}}}, "fields.optimizer.speed"),
        ({"fields": {"epochs.total": {"values": [1]}}}, "fields.epochs.total"),
        (
            {"fields": {"architecture.channels.2": {"values": [1]}}},
            "fields.architecture.channels.2",
        ),
        ({"settings": [{"batch_size": 0}]}, "fields.batch_size"),
        ({"base": {"epochs": "many"}}, "base.epochs"),
        ({"base": {"epoch": 3}}, "base.epoch"),
    ],
)
def test_invalid_value_is_located_in_the_plan(plan: dict[str, Any], field: str) -> None:
    with pytest.raises((InvalidSettings, InvalidValue)) as error:
        plan_runs(plan_of(**plan))
    errors = getattr(error.value, "errors", [error.value])
    assert [invalid.field for invalid in errors] == [field]


@pytest.mark.parametrize(
    "plan",
    [
        {"fields": {RATE: {"log_uniform": [0.1, 1]}}},  # a range without samples
        {"fields": {RATE: {"log_uniform": [0, 1]}}, "samples": 2},
        {"fields": {RATE: {"uniform": [1, 1]}}, "samples": 2},
        {"fields": {RATE: {"values": [1], "uniform": [0, 1]}}},
        {"fields": {RATE: {"values": [1, 1]}}},
        {"fields": {"seed": {"values": [1]}}},
        {"fields": {"a b": {"values": [1]}}},
        {"fields": {RATE: {"values": [1]}}, "settings": [{RATE: 1}]},
        {"samples": 3},
        {"seeds": []},
        {"seeds": [1, 1]},
        {"unknown": 1},
    ],
)
def test_inconsistent_plan_is_refused(plan: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        plan_of(**plan)


def test_too_many_runs_are_refused_before_they_are_listed() -> None:
    values = {"values": list(range(1, 101))}
    plan = plan_of(fields=dict.fromkeys(("batch_size", "epochs", "samples_per_epoch"), values))
    with pytest.raises(InvalidValue, match=rf"1000000 settings.* at most {MAX_RUNS}"):
        list_settings(plan)
    with pytest.raises(InvalidValue, match="1100 runs"):
        plan_runs(plan_of(fields={"batch_size": values}, seeds=list(range(11))))
