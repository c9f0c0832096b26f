"""What is new of a run: events with what they tell of, read from rows when they are asked for."""

from dataclasses import dataclass, replace

from service.store import epochs, events, runs
from service.store.epochs import Epoch
from service.store.run_status import TERMINAL_STATUSES, RunStatus
from service.store.runs import Run
from service.store.store import Store

MAX_EVENTS = 200
"""Events read in one transaction."""


@dataclass(frozen=True)
class EventWithState:
    """An event, and the epoch or the run that it tells of."""

    number: int
    state: Epoch | Run


def events_with_state(store: Store, run_id: int, number: int) -> list[EventWithState]:
    """The next events after that number, at most AT_ONCE; none of a run that was deleted."""
    with store.read_session() as session:
        found = events.list_after(session, run_id, number, MAX_EVENTS)
        if not found:
            return []
        run = runs.get(session, run_id)
        chosen = [event.data["epoch"] for event in found if event.kind == events.EPOCH]
        reached = {e.epoch: e for e in epochs.list_epochs(session, run_id, numbers=chosen)}
        told = events.count_epochs(session, run_id, number)
        news = []
        for event in found:
            if event.kind == events.EPOCH:
                told += 1
                news.append(EventWithState(event.number, reached[event.data["epoch"]]))
            else:
                then = _before_its_environment(_as_it_was(run, event.data["status"], told - 1))
                news.append(EventWithState(event.number, replace(then, last_event=event.number)))
    return news


def _as_it_was(run: Run, status: str, epochs_done: int) -> Run:
    """The run when it got a status: as it stands, if that is its status still."""
    if status == run.status:
        return run
    return replace(
        run,
        status=status,
        epochs_done=epochs_done,
        images_seen=0,
        error=None,
        started_at=None if status == RunStatus.QUEUED else run.started_at,
        finished_at=None,
    )


def _before_its_environment(run: Run) -> Run:
    """The run without its environment, if it has not trained or ended yet.

    Its worker records it at some moment after the run has the status: the same event would have it
    for one reader and not for another.
    """
    if run.epochs_done >= 0 or run.status in TERMINAL_STATUSES:
        return run
    return replace(run, environment=None, environment_changes=())
