"""Running functions in lanes, from the event loop."""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Hashable
from contextlib import suppress
from typing import Any, TypeVar

from service.api.middleware.client_disconnect import DisconnectSignal
from service.api.services import ApiServices
from service.errors import RequestCancelled
from service.flows.thread_pools import PoolName, ThreadPool

T = TypeVar("T")


def run_in_write_pool(endpoint: Callable[..., T]) -> Callable[..., Coroutine[Any, Any, T]]:
    """An endpoint that writes to the database, called in the lane for that.

    Writers wait for each other: in the threads of readers, those would wait for them, too.
    """

    @functools.wraps(endpoint)
    async def called(*, services: ApiServices, **arguments: Any) -> T:
        lane = services.thread_pools[PoolName.WRITING]
        return await run_in_pool(lane, lambda: endpoint(services=services, **arguments))

    return called


async def run_in_pool(
    pool: ThreadPool,
    function: Callable[[], T],
    *,
    key: Hashable | None = None,
    disconnect: DisconnectSignal | None = None,
) -> T:
    """What the function returns, called in a thread of the lane; requests of one key share a call.

    Waits in no thread. Raises PoolFull, and RequestCancelled once the client has gone: the call
    ends at its next check then, if no other request waits for it.
    """
    loop, wake = asyncio.get_running_loop(), asyncio.Event()

    def wake_soon(_: object) -> None:
        # The loop may be closed by the time that an abandoned call ends.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(wake.set)

    computation = pool.submit(function, key=key)
    try:
        computation.result.add_done_callback(wake_soon)
        if disconnect is not None:
            disconnect.on_disconnect(wake.set)
        await wake.wait()
        if not computation.result.done():
            raise RequestCancelled("Nobody waits for the answer any more.")
        return computation.result.result()
    finally:
        pool.leave(computation)
