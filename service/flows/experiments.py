"""Experiments as clients control them: start, cancel, resume, retry, more seeds, delete."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from service.core.experiments.plan import ExperimentPlan
from service.core.experiments.settings import PlannedRun, plan_runs
from service.errors import ExperimentConflict, InvalidValue, RunConflict, RunNotFound
from service.flows.datasets import resolve_dataset
from service.flows.dispatch import dispatch_run
from service.flows.environment import check_device
from service.flows.runs import extend_in_session, mark_uploads
from service.flows.workspace import Workspace
from service.jobs import Executor
from service.store import experiments, request_keys, run_lifecycle, runs
from service.store.experiments import Experiment, NewRun
from service.store.request_keys import RequestKey
from service.store.run_status import TERMINAL_STATUSES, RunStatus
from service.store.store import Store

ACTIVE_STATUSES = (RunStatus.QUEUED, RunStatus.RUNNING)
BATCH_RUNS = 25
"""Runs that one transaction changes: workers that record an epoch wait for at most one of them."""


@dataclass(frozen=True)
class SkippedRun:
    """A run that could not be continued, and why."""

    run_id: int
    reason: str


@dataclass(frozen=True)
class Experiments:
    """Starts and controls experiments. `dispatcher` as of `runs.create`."""

    store: Store
    executor: Executor
    workspace: Workspace

    def start(
        self,
        plan: ExperimentPlan,
        request_key: RequestKey | None = None,
        dispatcher: str | None = None,
    ) -> tuple[Experiment, bool]:
        """Create an experiment with all its runs and dispatch them, once per request key.

        Returns False for a new experiment, or an earlier one of that key and True. Its runs do not
        count as queued: a queue limit is for single runs. Raises like `plan`, and StoreFull,
        KeyReused, and ExperimentNotFound if the experiment of the key has been deleted.
        """
        run_plans = self.plan(plan)
        with self.store.write_session() as session:
            earlier_id = request_keys.claim_key(session, request_key) if request_key else None
            if earlier_id is not None:
                return experiments.get(session, int(earlier_id)), True
            experiment = experiments.create(
                session, plan.name, plan.notes, plan.model_dump(mode="json", exclude_none=True)
            )
            run_ids = self._add(session, experiment.id, run_plans, dispatcher)
            if request_key:
                request_keys.record_answer(session, request_key, str(experiment.id))
        self._dispatch(run_ids)
        return experiment, False

    def plan(
        self, plan: ExperimentPlan, seeds: Collection[int] | None = None
    ) -> Sequence[PlannedRun]:
        """The runs of a plan with resolved specs, of some of its seeds or of all.

        Raises InvalidValue and InvalidSettings, which name the field; like `resolve_dataset` too.
        """
        run_plans = [
            PlannedRun(
                run.position, run.setting, run.seed, resolve_dataset(self.workspace, run.spec)
            )
            for run in plan_runs(plan, seeds)
        ]
        for device in {run.spec.device: run.spec for run in run_plans}.values():
            check_device(device, self.executor)
        return run_plans

    def add_seeds(
        self, experiment_id: int, seeds: Sequence[int], dispatcher: str | None = None
    ) -> Experiment:
        """Add runs of every setting with further seeds, and dispatch them.

        Raises ExperimentNotFound, StoreFull, InvalidValue for a seed that the experiment has, and
        like `plan`.
        """
        with self.store.read_session() as session:
            plan = parse_plan(experiments.get(session, experiment_id))
        extended = _with_seeds(plan, seeds)
        run_plans = self.plan(extended, seeds)
        with self.store.write_session() as session:
            experiment = experiments.get_for_update(session, experiment_id)
            if parse_plan(experiment) != plan:
                raise ExperimentConflict(
                    f"Experiment {experiment_id} was changed by another request. Try again."
                )
            experiments.update_plan(
                session,
                experiment_id,
                experiment.name,
                experiment.notes,
                extended.model_dump(mode="json", exclude_none=True),
            )
            run_ids = self._add(session, experiment_id, run_plans, dispatcher)
            experiment = experiments.get(session, experiment_id)
        self._dispatch(run_ids)
        return experiment

    def change_labels(
        self, experiment_id: int, name: str | None = None, notes: str | None = None
    ) -> Experiment:
        """Change name and notes; None leaves one as it is. Raises ExperimentNotFound."""
        with self.store.write_session() as session:
            experiment = experiments.get_for_update(session, experiment_id)
            experiments.update_plan(
                session,
                experiment_id,
                experiment.name if name is None else name,
                experiment.notes if notes is None else notes,
                experiment.plan,
            )
            return experiments.get(session, experiment_id)

    def cancel(self, experiment_id: int) -> Experiment:
        """Cancel all runs that have not ended: queued ones at once, running ones within a second.

        Raises ExperimentNotFound.
        """
        with self.store.read_session() as session:
            experiment = experiments.get(session, experiment_id)
            rows = experiments.list_runs(session, experiment_id, statuses=ACTIVE_STATUSES)
        for batch in _batches([run.id for _, run in rows]):
            with self.store.write_session() as session:
                for run_id in batch:
                    if not run_lifecycle.finish(
                        session, run_id, RunStatus.CANCELLED, from_statuses=(RunStatus.QUEUED,)
                    ):
                        run_lifecycle.request_cancel(session, run_id)
        return experiment

    def continue_runs(
        self, experiment_id: int, status: RunStatus, dispatcher: str | None = None
    ) -> tuple[Experiment, list[SkippedRun]]:
        """Queue the runs of that status again, each from its last epoch: cancelled or failed ones.

        Also returns the runs that cannot continue, such as those that diverged. Raises
        ExperimentNotFound, and ExperimentConflict if there is no run of that status.
        """
        with self.store.read_session() as session:
            experiment = experiments.get(session, experiment_id)
            rows = experiments.list_runs(session, experiment_id, statuses=(status,))
        if not rows:
            raise ExperimentConflict(f"Experiment {experiment_id} has no run that {status}.")
        run_ids: list[int] = []
        skipped: list[SkippedRun] = []
        for batch in _batches([run.id for _, run in rows]):
            with self.store.write_session() as session:
                for run_id in batch:
                    try:
                        extend_in_session(session, run_id, None, None, self.executor, dispatcher)
                    except RunConflict as error:
                        skipped.append(SkippedRun(run_id, str(error)))
                    except RunNotFound:  # deleted since
                        continue
                    else:
                        run_ids.append(run_id)
        self._dispatch(run_ids)
        return experiment, skipped

    def delete(self, experiment_id: int) -> None:
        """Delete an experiment with its runs; `DeletedRunCleaner` frees their space later.

        Raises ExperimentNotFound, and ExperimentConflict while one of its runs is running.
        """
        with self.store.write_session() as session:
            experiments.get_for_update(session, experiment_id)
            totals = experiments.count_runs(session, [experiment_id])[experiment_id]
            if set(totals.by_status) - {*TERMINAL_STATUSES, RunStatus.QUEUED}:
                raise ExperimentConflict(
                    f"Experiment {experiment_id} has runs that are running; cancel it first."
                )
            experiments.delete_with_runs(session, experiment_id)

    def _add(
        self,
        session: Any,
        experiment_id: int,
        run_plans: Sequence[PlannedRun],
        dispatcher: str | None,
    ) -> list[int]:
        self.store.quota.check(session)
        # Most runs have the same probes.
        for spec in {
            (run.spec.image_set, *run.spec.probes.images): run.spec for run in run_plans
        }.values():
            mark_uploads(session, spec)
        new_runs = [
            NewRun(
                run.position,
                run.spec.name,
                run.spec.tags,
                run.spec.model_dump(mode="json"),
                run.spec.epochs,
            )
            for run in run_plans
        ]
        return experiments.add_runs(session, experiment_id, new_runs, dispatcher)

    def _dispatch(self, run_ids: Sequence[int]) -> None:
        # After the commit: a worker that starts earlier does not find its run.
        for start in range(0, len(run_ids), runs.MAX_IDS_PER_QUERY):
            with self.store.read_session() as session:
                rows = runs.get_many(session, run_ids[start : start + runs.MAX_IDS_PER_QUERY])
            for run_id in sorted(rows):
                dispatch_run(self.store, self.executor, self.workspace, rows[run_id])


def _batches(run_ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(run_ids), BATCH_RUNS):
        yield run_ids[start : start + BATCH_RUNS]


def parse_plan(experiment: Experiment) -> ExperimentPlan:
    """The plan of a stored experiment."""
    return ExperimentPlan.model_validate(experiment.plan)


def _with_seeds(plan: ExperimentPlan, seeds: Sequence[int]) -> ExperimentPlan:
    """The plan with further seeds. Raises InvalidValue for one that it has, or for too many."""
    repeated = sorted(set(plan.seeds) & set(seeds))
    if repeated:
        raise InvalidValue(
            "seeds", f"the experiment has {repeated[0]} already", code="repeated_seed"
        )
    values = plan.model_dump(mode="json", exclude_none=True)
    try:
        return ExperimentPlan.model_validate(values | {"seeds": [*plan.seeds, *seeds]})
    except ValueError as error:
        raise InvalidValue("seeds", "are too many") from error
