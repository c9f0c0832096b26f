"""Watching runs: one poller a run, whatever many clients follow it, and no thread that waits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from service.errors import StoreBusy
from service.store import runs
from service.store.runs import Pulse
from service.store.store import Store

POLL_SECONDS = 0.1
READERS_AT_ONCE = 4

T = TypeVar("T")


class Watch:
    """A run as it was seen last; `pulse` is None for one that is gone."""

    def __init__(self) -> None:
        self.pulse: Pulse | None = None
        self.looks = 0  # that saw something new
        self.closed = False
        self._news = asyncio.Event()

    def see(self, pulse: Pulse | None) -> None:
        """Wake who waits, if this is new."""
        if self.looks == 0 or pulse != self.pulse:
            self.pulse = pulse
            self.looks += 1
            self._wake()

    def close(self) -> None:
        """Nothing more is to come."""
        self.closed = True
        self._wake()

    async def newer_than(self, looks: int, seconds: float | None = None) -> None:
        """Wait for something newer than that look, or the end, at most so long."""
        if self.looks > looks or self.closed:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Watches:
    """The runs that clients follow now. Belongs to the event loop's thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watched: dict[int, tuple[Watch, asyncio.Task[None]]] = {}
        self._followers: dict[int, int] = {}
        # Not the threads that draw pictures: those may all be busy for seconds.
        self._threads = CapacityLimiter(READERS_AT_ONCE)
        self._closed = False

    @asynccontextmanager
    async def of(self, run_id: int) -> AsyncIterator[Watch]:
        """A run's watch; the first follower starts its poller, the last one ends it."""
        if run_id not in self._watched:
            watch = Watch()
            self._watched[run_id] = watch, asyncio.create_task(self._poll(run_id, watch))
        watch, poller = self._watched[run_id]
        watch.closed |= self._closed
        self._followers[run_id] = self._followers.get(run_id, 0) + 1
        try:
            yield watch
        finally:
            self._followers[run_id] -= 1
            if not self._followers[run_id]:
                del self._followers[run_id], self._watched[run_id]
                poller.cancel()

    async def read(self, query: Callable[[], T]) -> T:
        """Ask the database in a thread; a busy one is asked again."""
        while True:
            try:
                return await to_thread.run_sync(query, limiter=self._threads)
            except StoreBusy:
                await asyncio.sleep(POLL_SECONDS)

    def close(self) -> None:
        """End all that follow, and whoever comes: the server stops."""
        self._closed = True
        for watch, _ in self._watched.values():
            watch.close()

    async def _poll(self, run_id: int, watch: Watch) -> None:
        def look() -> Pulse | None:
            with self._store.reading() as session:
                return runs.pulse(session, run_id)

        try:
            while True:
                watch.see(await self.read(look))
                await asyncio.sleep(POLL_SECONDS)
        finally:
            watch.close()
