"""Experiments in event streams."""

from collections.abc import Mapping, Sequence

from service.api.event_streams.subscriptions import EncodedEvent, WatchedResource
from service.api.resources.experiment_responses import ExperimentSummary, summary_response
from service.api.services import ApiServices
from service.store import experiments

ID_FIELD = "experiment_id"


class ExperimentPoller:
    """Polls the progress of experiments."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services

    def poll(self, ids: Sequence[int]) -> Mapping[int, ExperimentSummary]:
        """The experiments that exist, by id, in two queries."""
        with self._services.store.read_session() as session:
            rows = experiments.get_many(session, ids)
            totals = experiments.count_runs(session, list(rows))
        return {row_id: summary_response(row, totals[row_id]) for row_id, row in rows.items()}


class WatchedExperiment(WatchedResource):
    """The last polled state of an experiment; `event` is None if it does not exist."""

    def __init__(self, experiment_id: int, experiment: ExperimentSummary | None) -> None:
        super().__init__()
        self._experiment_id = experiment_id
        self._state = experiment
        self.event = self._encode()

    @property
    def has_ended(self) -> bool:
        """Whether it does not exist, or has no run that is queued or running."""
        return self._state is None or self._state.runs.queued + self._state.runs.running == 0

    def update(self, state: ExperimentSummary | None) -> None:
        """Notify if a run has a new status or epoch, or if runs or labels have changed."""
        if state == self._state:
            return
        self._state = state
        self.event = self._encode()
        self.notify()

    def _encode(self) -> EncodedEvent | None:
        if self._state is None:
            return None
        document = self._state.model_dump_json()
        return EncodedEvent.encode("experiment", document, None, ID_FIELD, self._experiment_id)


class ExperimentSubscription:
    """An experiment in one stream: its current progress, then each change."""

    def __init__(
        self, poller: ExperimentPoller, experiment_id: int, experiment: ExperimentSummary | None
    ) -> None:
        self.poller = poller
        self.resource_id = experiment_id
        self.has_ended = False
        self._experiment = experiment
        self._resource = self.new_resource()
        self._sent_event: EncodedEvent | None = None

    def new_resource(self) -> WatchedExperiment:
        """The experiment as it was when the stream began."""
        return WatchedExperiment(self.resource_id, self._experiment)

    def attach(self, resource: WatchedExperiment) -> None:
        """Read from this experiment, which another subscription may have created."""
        self._resource = resource

    async def next_events(self) -> Sequence[EncodedEvent]:
        """The experiment if it has changed since it was sent; `gone` if it does not exist."""
        event = self._resource.event
        if self.has_ended or (event is not None and event is self._sent_event):
            return ()
        self.has_ended, self._sent_event = self._resource.has_ended, event
        return [event or EncodedEvent.encode("gone", "{}", None, ID_FIELD, self.resource_id)]

    def mark_sent(self, number: int) -> None:
        """Do nothing: events of experiments have no numbers."""

    def cursor(self) -> None:
        """None: a resumed stream begins with the current progress of the experiment."""
