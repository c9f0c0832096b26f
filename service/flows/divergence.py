"""Why a run diverged, as far as its last steps show it, and which learning rate to try next."""

from dataclasses import dataclass
from enum import StrEnum

from service.core.optimizers import AnyOptimizer
from service.core.recorded_spec import training_spec
from service.errors import NotFound, RunConflict, RunDiverged
from service.flows.run_errors import ERROR_TYPES
from service.store import divergences, runs
from service.store.divergences import Divergence
from service.store.runs import Run
from service.store.store import Store

REDUCTION_FACTOR = 10


class SuggestionReason(StrEnum):
    """How a learning rate is suggested."""

    FRACTION = "fraction"  # of the diverged run's, by REDUCTION_FACTOR
    DEFAULT = "default"  # of the optimizer


@dataclass(frozen=True)
class LearningRateSuggestion:
    """A learning rate to try instead of the one with which a run diverged. It may diverge too."""

    learning_rate: float
    reason: SuggestionReason


@dataclass(frozen=True)
class DivergenceReport:
    """The divergence of a run."""

    learning_rate: float  # of the run
    suggestion: LearningRateSuggestion
    steps: Divergence | None  # None for a run of a version that did not record them


def divergence_of(error: Exception) -> Divergence | None:
    """What to store of the error that ended a training; None for other errors."""
    if not isinstance(error, RunDiverged):
        return None
    return Divergence(error.epoch, error.first_step, error.losses, error.gradient_norms)


def read_divergence(store: Store, run_id: int) -> DivergenceReport:
    """The divergence of a run. Raises RunNotFound, and NotFound if the run has not diverged."""
    with store.read_session() as session:
        run = runs.get(session, run_id)
        steps = divergences.get(session, run_id)
    if not has_diverged(run):
        raise NotFound(f"Run {run_id} has not diverged.")
    optimizer = training_spec(run.spec).optimizer
    return DivergenceReport(optimizer.learning_rate, suggest_learning_rate(optimizer), steps)


def has_diverged(run: Run) -> bool:
    """Whether the run failed because its loss became infinite or NaN."""
    return run.error is not None and run.error.type == ERROR_TYPES[RunDiverged]


def suggest_learning_rate(optimizer: AnyOptimizer) -> LearningRateSuggestion:
    """The optimizer's default or a tenth of the learning rate, whichever is smaller."""
    reduced_rate = float(f"{optimizer.learning_rate / REDUCTION_FACTOR:.3g}")
    default_rate = type(optimizer)().learning_rate
    if default_rate < reduced_rate:
        return LearningRateSuggestion(default_rate, SuggestionReason.DEFAULT)
    return LearningRateSuggestion(reduced_rate, SuggestionReason.FRACTION)


def check_would_not_diverge(run: Run) -> None:
    """Raises RunConflict for a run that would diverge again if it was resumed."""
    if has_diverged(run):
        suggestion = suggest_learning_rate(training_spec(run.spec).optimizer)
        raise RunConflict(
            f"Run {run.id} diverged, and would do so again: a resumed run trains the epoch with "
            "the same settings and random numbers. Start a new run with a smaller learning rate, "
            f"for example {suggestion.learning_rate:g}."
        )
