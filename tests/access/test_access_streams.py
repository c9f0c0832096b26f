"""An event stream ends with the credential that it was asked for with."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Any

import pytest

from service.api.middleware.access_control import RECHECK_SECONDS, SharedQueries
from service.core.spec import RunSpec
from service.flows.credentials import digest
from service.store import runs, tokens


@pytest.mark.parametrize("shown", ["header", "cookie"])
def test_a_stream_ends_when_its_token_is_revoked(guarded: Any, shown: str) -> None:
    service = guarded()
    with service.store() as store:
        with store.write_session() as session:
            # It waits for a worker, so that its stream has no end of its own.
            run_id = runs.create(session, "", [], RunSpec().model_dump(mode="json"), 1).id
        path = f"/runs/{run_id}/events"
        token, headers = "read", {}
        if shown == "cookie":
            body = {"token": service.tokens["read"]}
            signed_in = service.ask("POST", "/session", json=body)
            token, headers = None, {"cookie": signed_in.headers["set-cookie"].partition(";")[0]}
        with ThreadPoolExecutor(1) as threads:
            stream = threads.submit(service.ask, "GET", path, token, headers=headers)
            assert not wait_for([stream], 1.5 * RECHECK_SECONDS).done
            with store.write_session() as session:
                token_id = tokens.get_by_digest(session, digest(service.tokens["read"])).id
                tokens.revoke(session, token_id)
            service.forget()
            answer = stream.result(20)
    assert answer.status_code == 200
    assert "event: status" in answer.text
    assert service.ask("GET", path, token, headers=headers).status_code == 401


def test_requests_that_come_at_once_share_one_look_up_of_who_asks() -> None:
    queries: list[str] = []

    def query() -> str:
        queries.append("asked")
        time.sleep(0.05)
        return "principal"

    async def scenario() -> list[str]:
        lookups = SharedQueries()
        first = asyncio.create_task(lookups.run("token", query))
        others = [asyncio.create_task(lookups.run("token", query)) for _ in range(50)]
        await asyncio.sleep(0)
        first.cancel()  # a client that goes takes the answer from nobody
        results = await asyncio.gather(*others)
        assert len(queries) == 1
        return [*results, await lookups.run("token", query)]

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(asyncio.run, scenario()).result() == 51 * ["principal"]
    assert len(queries) == 2  # nothing is remembered here: that is the gate's
