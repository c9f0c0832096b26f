"""Jobs as event streams follow them."""

from collections.abc import Mapping, Sequence

from service.api.event_streams.subscriptions import EncodedEvent, WatchedResource
from service.api.resources import jobs as jobs_api
from service.api.services import ApiServices
from service.store.jobs import Job

ID_FIELD = "job_id"


class JobPoller:
    """Polls jobs."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services

    def poll(self, ids: Sequence[int]) -> Mapping[int, Job]:
        """Those that exist, by one query."""
        return self._services.jobs.with_ids(ids)


class WatchedJob(WatchedResource):
    """A job as it was polled last; `frame` is None for one that does not exist."""

    def __init__(self, job_id: int, job: Job | None) -> None:
        super().__init__()
        self._job_id = job_id
        self._state = self._document(job)
        self.frame = self._encode()
        self.ended = job is None or not job.is_unfinished

    def update(self, state: Job | None) -> None:
        """Notify of a change of status or progress."""
        document = self._document(state)
        if document == self._state:
            return
        self._state = document
        self.frame = self._encode()
        self.ended = state is None or not state.is_unfinished
        self.notify()

    def _document(self, job: Job | None) -> str | None:
        return jobs_api.answer(job).model_dump_json() if job else None

    def _encode(self) -> EncodedEvent | None:
        if self._state is None:
            return None
        return EncodedEvent.encode("job", self._state, None, ID_FIELD, self._job_id)


class JobSubscription:
    """A job in one stream: as it stands, and again whenever its status or progress changes."""

    def __init__(self, source: JobPoller, job_id: int, job: Job | None) -> None:
        self.poller = source
        self.resource_id = job_id
        self.ended = False
        self._job = job
        self._watched = self.new_resource()
        self._sent: EncodedEvent | None = None

    def new_resource(self) -> WatchedJob:
        """A feed of the job as it was read when the stream began."""
        return WatchedJob(self.resource_id, self._job)

    def attach(self, resource: WatchedJob) -> None:
        """Follow this feed, which another topic may have made."""
        self._watched = resource

    async def next_events(self) -> Sequence[EncodedEvent]:
        """The job, if it has changed since it was sent; `gone` for one that does not exist."""
        if self.ended or (self._watched.frame is not None and self._watched.frame is self._sent):
            return ()
        self.ended, self._sent = self._watched.ended, self._watched.frame
        return [self._sent or EncodedEvent.encode("gone", "{}", None, ID_FIELD, self.resource_id)]

    def mark_sent(self, number: int) -> None:
        """Nothing: no event of a job is numbered."""

    def cursor(self) -> None:
        """None: a stream that is resumed begins with the job as it stands."""
