"""Loading the networks of neighboring epochs ahead of the requests for them."""

import threading
from collections.abc import Callable
from contextlib import suppress

import structlog

from service.errors import CamreelError
from service.flows.maps.compute import MapComputer
from service.flows.maps.explained_run import ExplainedRun
from service.flows.maps.request import MapRequest
from service.store import epochs
from service.store.epochs import Epoch
from service.store.store import Store

IDLE_SECONDS = 0.05
"""How long nothing must have been computed, so that a burst of requests is not slowed down."""

MIN_NETWORKS_IN_CACHE = 16
"""Networks of which fewer fit into the cache are not prefetched: they would displace too many that
are in use."""

log = structlog.get_logger()


class NetworkPrefetcher:
    """Loads the networks before and after an epoch whose map was computed, while idle.

    Whoever scrubs through a training asks for one of them next. A thread of its own loads them;
    only the latest epoch counts.
    """

    def __init__(
        self,
        store: Store,
        computer: MapComputer,
        cache_bytes: int,
        is_idle: Callable[[], bool],
    ) -> None:
        """`cache_bytes`: the size of the cache of networks."""
        self._max_checkpoint_bytes = cache_bytes // MIN_NETWORKS_IN_CACHE
        self._store = store
        self._computer = computer
        self._is_idle = is_idle
        self._condition = threading.Condition()
        self._latest: MapRequest | None = None
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None

    def prefetch_neighbors(self, request: MapRequest) -> None:
        """Load the networks next to the request's epoch soon, instead of any requested before."""
        with self._condition:
            is_waiting, self._latest = self._latest is None, request
            if self._thread is None and not self._is_closed.is_set():
                self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
                self._thread.start()
            if is_waiting:  # else the thread is not woken: that would cost each request time
                self._condition.notify_all()

    def close(self) -> None:
        """End the thread."""
        with self._condition:
            self._is_closed.set()
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (request := self._next_request()) is not None:
            try:
                self._load_neighbors(request.series.run, request.epoch)
            except CamreelError:
                continue  # a request for the epoch reports it
            except Exception:  # the thread has no caller, and has to outlive any error
                log.exception("networks were not prefetched")

    def _next_request(self) -> MapRequest | None:
        """The latest request, once nothing has been computed for IDLE_SECONDS; None at the end."""
        request: MapRequest | None = None
        while not self._is_closed.is_set():
            with self._condition:
                while self._latest is None and not self._is_closed.is_set():
                    self._condition.wait()
                if request is not None and request is self._latest and self._is_idle():
                    self._latest = None
                    return request
                request = self._latest
            self._is_closed.wait(IDLE_SECONDS)
        return None

    def _load_neighbors(self, run: ExplainedRun, epoch: Epoch) -> None:
        numbers = [epoch.epoch + 1, epoch.epoch - 1]
        with self._store.read_session() as session:
            neighbors = epochs.list_epochs(session, epoch.run_id, numbers=numbers)
        for neighbor in neighbors:
            is_usable = neighbor.quarantine_reason is None
            if is_usable and neighbor.checkpoint.bytes <= self._max_checkpoint_bytes:
                with suppress(CamreelError):
                    self._computer.network(neighbor, run)
