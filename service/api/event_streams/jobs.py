"""Jobs in event streams."""

from collections.abc import Mapping, Sequence

from service.api.event_streams.subscriptions import EncodedEvent, WatchedResource
from service.api.resources import jobs as jobs_api
from service.api.services import ApiServices
from service.store.jobs import Job

ID_FIELD = "job_id"


class JobPoller:
    """Polls the state of jobs."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services

    def poll(self, ids: Sequence[int]) -> Mapping[int, Job]:
        """The jobs that exist, by id, in one query."""
        return self._services.jobs.get_many(ids)


class WatchedJob(WatchedResource):
    """The last polled state of a job; `event` is None if the job does not exist."""

    def __init__(self, job_id: int, job: Job | None) -> None:
        super().__init__()
        self._job_id = job_id
        self._state = self._to_json(job)
        self.event = self._encode()
        self.has_ended = job is None or not job.is_unfinished

    def update(self, state: Job | None) -> None:
        """Notify if status or progress has changed."""
        document = self._to_json(state)
        if document == self._state:
            return
        self._state = document
        self.event = self._encode()
        self.has_ended = state is None or not state.is_unfinished
        self.notify()

    def _to_json(self, job: Job | None) -> str | None:
        return jobs_api.job_response(job).model_dump_json() if job else None

    def _encode(self) -> EncodedEvent | None:
        if self._state is None:
            return None
        return EncodedEvent.encode("job", self._state, None, ID_FIELD, self._job_id)


class JobSubscription:
    """A job in one stream: its current state, then each change of status or progress."""

    def __init__(self, poller: JobPoller, job_id: int, job: Job | None) -> None:
        self.poller = poller
        self.resource_id = job_id
        self.has_ended = False
        self._job = job
        self._resource = self.new_resource()
        self._sent_event: EncodedEvent | None = None

    def new_resource(self) -> WatchedJob:
        """The job as it was when the stream began."""
        return WatchedJob(self.resource_id, self._job)

    def attach(self, resource: WatchedJob) -> None:
        """Read from this job, which another subscription may have created."""
        self._resource = resource

    async def next_events(self) -> Sequence[EncodedEvent]:
        """The job if it has changed since it was sent; `gone` if it does not exist."""
        if self.has_ended or (
            self._resource.event is not None and self._resource.event is self._sent_event
        ):
            return ()
        self.has_ended, self._sent_event = self._resource.has_ended, self._resource.event
        return [
            self._sent_event or EncodedEvent.encode("gone", "{}", None, ID_FIELD, self.resource_id)
        ]

    def mark_sent(self, number: int) -> None:
        """Do nothing: events of jobs have no numbers."""

    def cursor(self) -> None:
        """None: a resumed stream begins with the current state of the job."""
