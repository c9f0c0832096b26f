"""The life of a run as clients control it: start, cancel and resume (`deletion.py` deletes)."""

from typing import Any

from service.core.schedules import MAX_EPOCHS
from service.core.spec import RunSpec
from service.errors import InvalidValue, RunConflict
from service.flows.datasets import resolve_dataset
from service.flows.dispatch import dispatch_run
from service.flows.divergence import check_would_not_diverge
from service.flows.environment import check_device, check_resumable
from service.flows.worker import probe_uploads
from service.flows.workspace import Workspace
from service.jobs import Executor
from service.store import (
    recorded_runs,
    request_keys,
    run_lifecycle,
    runs,
    training_states,
    uploaded_images,
)
from service.store.request_keys import RequestKey
from service.store.run_status import TERMINAL_STATUSES, RunSource, RunStatus
from service.store.runs import Run
from service.store.store import Store


def start_run(
    store: Store,
    executor: Executor,
    workspace: Workspace,
    spec: RunSpec,
    dispatcher: str | None = None,
) -> Run:
    """Create a run and dispatch it; returns it as queued. Raises like `start_run_once`."""
    return start_run_once(store, executor, workspace, spec, None, None, dispatcher)[0]


def start_run_once(
    store: Store,
    executor: Executor,
    workspace: Workspace,
    spec: RunSpec,
    max_queued: int | None,
    request_key: RequestKey | None,
    dispatcher: str | None = None,
) -> tuple[Run, bool]:
    """Create a run and dispatch it, once per request key.

    Returns and raises like `create_run`; raises also like `resolve_dataset`.
    """
    spec = resolve_dataset(workspace, spec)
    run, replayed = create_run(store, executor, spec, max_queued, request_key, dispatcher)
    if not replayed:
        # After the commit: a worker that starts earlier does not find its run.
        dispatch_run(store, executor, workspace, run)
    return run, replayed


def create_run(
    store: Store,
    executor: Executor,
    spec: RunSpec,
    max_queued: int | None = None,
    request_key: RequestKey | None = None,
    dispatcher: str | None = None,
) -> tuple[Run, bool]:
    """A queued run of a resolved spec that the caller has to dispatch, and False; or, for a request
    key that has created a run before, that run and True.

    `dispatcher` is the caller's process, if no other process may dispatch the run while it lives.
    Raises InvalidValue for a missing upload or an unavailable device, QueueFull, StoreFull,
    KeyReused, and RunNotFound if the run of the request key has been deleted.
    """
    with store.write_session() as session:
        earlier_id = request_keys.claim_key(session, request_key) if request_key else None
        if earlier_id is not None:
            return runs.get(session, int(earlier_id)), True
        check_device(spec, executor)
        store.quota.check(session)
        if max_queued is not None:
            runs.check_queue_limit(session, max_queued)
        mark_uploads(session, spec)
        values = spec.model_dump(mode="json")
        run = runs.create(session, spec.name, spec.tags, values, spec.epochs, dispatcher)
        if request_key:
            request_keys.record_answer(session, request_key, str(run.id))
    return run, False


def mark_uploads(session: Any, spec: RunSpec) -> None:
    """Mark the uploads among the probes as used. Raises InvalidValue for a missing one."""
    # Now, so that they are not removed as unused while the run is queued.
    uploads = probe_uploads(spec)
    if missing_uploads := uploaded_images.mark_used(session, spec.image_set, uploads):
        raise InvalidValue(
            "probes.images",
            f"{spec.dataset} has no upload {missing_uploads[0]}",
            code="missing_upload",
            context={"dataset": spec.dataset, "reference": missing_uploads[0]},
        )


def change_labels(
    store: Store,
    run_id: int,
    name: str | None = None,
    tags: list[str] | None = None,
    notes: str | None = None,
) -> Run:
    """Change name, tags and notes of a run in any status; None leaves one as it is.

    Raises RunNotFound.
    """
    with store.write_session() as session:
        run = runs.get_for_update(session, run_id)
        return runs.update_labels(
            session,
            run_id,
            run.name if name is None else name,
            run.tags if tags is None else tags,
            run.notes if notes is None else notes,
        )


def cancel_run(store: Store, run_id: int) -> Run:
    """Cancel a run: at once if it is queued or recorded, within a second if it is trained here.

    Raises RunNotFound, and RunConflict if it has ended.
    """
    with store.write_session() as session:
        run = runs.get_for_update(session, run_id)
        # The service cannot stop a recorder: the next write of the recorder is refused.
        is_recorded = run.source is RunSource.RECORDED
        statuses = recorded_runs.ACTIVE_STATUSES if is_recorded else (RunStatus.QUEUED,)
        has_ended = run_lifecycle.finish(
            session, run_id, RunStatus.CANCELLED, from_statuses=statuses
        )
        if not has_ended and not run_lifecycle.request_cancel(session, run_id):
            raise RunConflict(f"Run {run_id} has ended already: it {run.status}.")
        session.expire_all()
        return runs.get(session, run_id)


def resume_run(
    store: Store,
    executor: Executor,
    workspace: Workspace,
    run_id: int,
    epochs_total: int | None,
    max_queued: int | None = None,
    dispatcher: str | None = None,
) -> Run:
    """Requeue a run that has ended, and dispatch it. Returns and raises like `extend_run`."""
    run = extend_run(store, run_id, epochs_total, max_queued, executor, dispatcher)
    dispatch_run(store, executor, workspace, run)
    return run


def extend_run(
    store: Store,
    run_id: int,
    epochs_total: int | None,
    max_queued: int | None = None,
    executor: Executor | None = None,
    dispatcher: str | None = None,
) -> Run:
    """Requeue a run that has ended, to train from its last epoch up to `epochs_total`, by default
    up to its previous total. The caller has to dispatch it; `dispatcher` as of `create_run`.

    Checks the run's device only with an executor. Raises RunNotFound; RunConflict if the run has
    not ended, has diverged, has no training state or its device is unavailable; QueueFull; and
    InvalidValue for a total that the run has already reached or that is out of range.
    """
    with store.write_session() as session:
        return extend_in_session(session, run_id, epochs_total, max_queued, executor, dispatcher)


def extend_in_session(
    session: Any,
    run_id: int,
    epochs_total: int | None,
    max_queued: int | None,
    executor: Executor | None,
    dispatcher: str | None,
) -> Run:
    """Like `extend_run`, in a transaction of the caller, which is unchanged if it raises."""
    run = runs.get_for_update(session, run_id)
    if run.source is RunSource.RECORDED:
        raise RunConflict(
            f"Run {run_id} cannot be resumed here: it was recorded, and its training loop is "
            "the user's. Continue it there, with camreel.Recorder(resume=...)."
        )
    if run.status not in TERMINAL_STATUSES:
        raise RunConflict(f"Run {run_id} has not ended: it is {run.status}.")
    check_would_not_diverge(run)
    total = run.epochs_total if epochs_total is None else epochs_total
    if epochs_total is not None or run.status == RunStatus.SUCCEEDED:
        _check_epochs_total(run, total)
    if executor is not None:
        check_resumable(run, executor)
    state = training_states.get(session, run_id)
    if run.epochs_done >= 0 and (state is None or state.epoch != run.epochs_done):
        raise RunConflict(f"Run {run_id} cannot be resumed: it has no training state.")
    if max_queued is not None:
        runs.check_queue_limit(session, max_queued)
    spec = {**run.spec, "epochs": total}
    run_lifecycle.resume(session, run_id, spec, total, dispatcher)
    session.expire_all()
    return runs.get(session, run_id)


def _check_epochs_total(run: Run, total: int) -> None:
    minimum = run.epochs_done + 1
    if not minimum <= total <= MAX_EPOCHS:
        raise InvalidValue(
            "epochs",
            f"run {run.id} has reached epoch {run.epochs_done}, so the value is "
            f"{minimum} to {MAX_EPOCHS}",
            allowed={"type": "integer", "minimum": minimum, "maximum": MAX_EPOCHS},
            code="epochs_reached",
            context={"epochs_done": run.epochs_done},
        )
