"""Schedules of the learning rate, compared with those of torch stepped once per epoch."""

import pytest
import torch
from torch.optim import lr_scheduler

from service.core.schedules import SCHEDULES, Constant, Cosine, Step
from service.core.spec import RunSpec

EPOCHS = 9
BASE_RATE = 0.4


def rates_of_torch(*schedulers, warmup_epochs: int = 0) -> list[float]:
    """The rates of epochs 1 to EPOCHS by torch: a linear warm-up, then the scheduler."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE_RATE)
    chain = [make(optimizer) for make in schedulers]
    if warmup_epochs:
        start = 1 / (warmup_epochs + 1)
        chain.insert(0, lr_scheduler.LinearLR(optimizer, start, total_iters=warmup_epochs))
    scheduler = lr_scheduler.SequentialLR(optimizer, chain, [warmup_epochs][: len(chain) - 1])
    rates = []
    for _ in range(EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def rates_of(schedule) -> list[float]:
    return [BASE_RATE * schedule.factor(epoch) for epoch in range(1, EPOCHS + 1)]


@pytest.mark.parametrize("warmup_epochs", [0, 1, 4])
def test_cosine_is_that_of_torch(warmup_epochs):
    schedule = Cosine(span_epochs=EPOCHS, warmup_epochs=warmup_epochs, final_factor=0.1)
    theirs = rates_of_torch(
        lambda optimizer: lr_scheduler.CosineAnnealingLR(
            optimizer, EPOCHS - warmup_epochs, eta_min=0.1 * BASE_RATE
        ),
        warmup_epochs=warmup_epochs,
    )
    assert rates_of(schedule) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("warmup_epochs", [0, 1, 4])
def test_steps_are_those_of_torch(warmup_epochs):
    schedule = Step(interval_epochs=2, reduction_factor=0.3, warmup_epochs=warmup_epochs)
    theirs = rates_of_torch(
        lambda optimizer: lr_scheduler.StepLR(optimizer, 2, 0.3), warmup_epochs=warmup_epochs
    )
    assert rates_of(schedule) == pytest.approx(theirs, rel=1e-6)


def test_warm_up_grows_in_equal_parts_to_the_full_rate():
    assert [Constant(warmup_epochs=3).factor(epoch) for epoch in range(1, 6)] == [
        0.25, 0.5, 0.75, 1.0, 1.0,
    ]  # fmt: skip


def test_cosine_spans_the_epochs_of_the_new_run_and_keeps_its_last_rate_after_them():
    spec = RunSpec.model_validate({"epochs": 4, "schedule": {"name": "cosine"}})
    assert spec.schedule.span_epochs == 4
    extended = RunSpec.model_validate(spec.model_dump() | {"epochs": 7})
    assert [extended.learning_rate(epoch) for epoch in range(1, 5)] == [
        spec.learning_rate(epoch) for epoch in range(1, 5)
    ]
    assert {extended.learning_rate(epoch) for epoch in range(4, 8)} == {spec.learning_rate(4)}
    assert 0 < spec.learning_rate(4) < spec.learning_rate(3)


def test_epoch_0_has_the_rate_of_the_first():
    spec = RunSpec.model_validate({"schedule": {"warmup_epochs": 1}})
    assert [spec.learning_rate(epoch) for epoch in range(3)] == [0.5, 0.5, 1.0]


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_can_be_selected_by_name(name):
    schedule = RunSpec.model_validate({"schedule": {"name": name}}).schedule
    assert type(schedule) is SCHEDULES[name]
    assert schedule.factor(1) == 1.0
