"""Jobs as event streams follow them."""

from collections.abc import Mapping, Sequence

from service.api.event_topics import Feed, Frame
from service.api.resources import jobs as jobs_api
from service.api.services import ServiceSet
from service.store.jobs import Job

ID_FIELD = "job_id"


class JobSource:
    """Polls jobs."""

    def __init__(self, services: ServiceSet) -> None:
        self._services = services

    def states(self, ids: Sequence[int]) -> Mapping[int, Job]:
        """Those that exist, by one query."""
        return self._services.jobs.with_ids(ids)


class JobFeed(Feed):
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

    def _encode(self) -> Frame | None:
        if self._state is None:
            return None
        return Frame.encode("job", self._state, None, ID_FIELD, self._job_id)


class JobTopic:
    """A job in one stream: as it stands, and again whenever its status or progress changes."""

    def __init__(self, source: JobSource, job_id: int, job: Job | None) -> None:
        self.source = source
        self.resource_id = job_id
        self.ended = False
        self._job = job
        self._feed = self.new_feed()
        self._sent: Frame | None = None

    def new_feed(self) -> JobFeed:
        """A feed of the job as it was read when the stream began."""
        return JobFeed(self.resource_id, self._job)

    def attach(self, feed: JobFeed) -> None:
        """Follow this feed, which another topic may have made."""
        self._feed = feed

    async def next_frames(self) -> Sequence[Frame]:
        """The job, if it has changed since it was sent; `gone` for one that does not exist."""
        if self.ended or (self._feed.frame is not None and self._feed.frame is self._sent):
            return ()
        self.ended, self._sent = self._feed.ended, self._feed.frame
        return [self._sent or Frame.encode("gone", "{}", None, ID_FIELD, self.resource_id)]

    def mark_sent(self, number: int) -> None:
        """Nothing: no event of a job is numbered."""

    def cursor(self) -> None:
        """None: a stream that is resumed begins with the job as it stands."""
