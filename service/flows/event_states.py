"""Events of a run, each with the state of the epoch or run at that event."""

from dataclasses import dataclass, replace

from service.store import epochs, events, runs
from service.store.epochs import Epoch
from service.store.run_status import TERMINAL_STATUSES, RunStatus
from service.store.runs import Run
from service.store.store import Store

MAX_EVENTS = 200
"""Maximum number of events read in one transaction."""


@dataclass(frozen=True)
class EventWithState:
    """An event, and its epoch, or the run as it was at that event."""

    number: int
    state: Epoch | Run


def events_with_state(store: Store, run_id: int, number: int) -> list[EventWithState]:
    """The next events after `number`, at most MAX_EVENTS; empty if the run has been deleted."""
    with store.read_session() as session:
        rows = events.list_after(session, run_id, number, MAX_EVENTS)
        if not rows:
            return []
        run = runs.get(session, run_id)
        numbers = [event.data["epoch"] for event in rows if event.type == events.EPOCH]
        epochs_by_number = {
            epoch.epoch: epoch for epoch in epochs.list_epochs(session, run_id, numbers=numbers)
        }
        epoch_count = events.count_epochs(session, run_id, number)
    result = []
    for event in rows:
        if event.type == events.EPOCH:
            epoch_count += 1
            result.append(EventWithState(event.number, epochs_by_number[event.data["epoch"]]))
        else:
            earlier = _without_late_environment(
                _at_status(run, event.data["status"], epochs_done=epoch_count - 1)
            )
            result.append(EventWithState(event.number, replace(earlier, last_event=event.number)))
    return result


def _at_status(run: Run, status: str, epochs_done: int) -> Run:
    """The run as it was when its status changed to `status`."""
    if status == run.status:
        return run
    return replace(
        run,
        status=RunStatus(status),
        epochs_done=epochs_done,
        images_seen=0,
        phase=None,
        error=None,
        started_at=None if status == RunStatus.QUEUED else run.started_at,
        finished_at=None,
    )


def _without_late_environment(run: Run) -> Run:
    """The run without its environment, if it has neither an epoch nor ended.

    The worker records the environment some time after the status: without this, readers of the
    same event would see different states.
    """
    if run.epochs_done >= 0 or run.status in TERMINAL_STATUSES:
        return run
    return replace(run, environment=None, environment_changes=())
