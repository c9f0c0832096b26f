"""Running functions in the service's thread pools, from the event loop."""

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
    """Decorate an endpoint that writes to the database, to run in the pool for writers.

    Writers wait for each other. In the pool of readers they would block reads as well.
    """

    @functools.wraps(endpoint)
    async def run(*, services: ApiServices, **arguments: Any) -> T:
        pool = services.thread_pools[PoolName.WRITING]
        return await run_in_pool(pool, lambda: endpoint(services=services, **arguments))

    return run


async def run_in_pool(
    pool: ThreadPool,
    function: Callable[[], T],
    *,
    key: Hashable | None = None,
    disconnect: DisconnectSignal | None = None,
) -> T:
    """Return the function's result from a thread of the pool; requests of one key share a call.

    Raises PoolFull, and RequestCancelled after the client disconnects: the call then stops at its
    next cancellation check, unless another request waits for it.
    """
    loop, wake = asyncio.get_running_loop(), asyncio.Event()

    def wake_loop(_: object) -> None:
        # The loop may be closed when an abandoned call ends.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(wake.set)

    computation = pool.submit(function, key=key)
    try:
        computation.result.add_done_callback(wake_loop)
        if disconnect is not None:
            disconnect.on_disconnect(wake.set)
        await wake.wait()
        if not computation.result.done():
            raise RequestCancelled("The client has disconnected.")
        return computation.result.result()
    finally:
        pool.leave(computation)
