"""An event stream ends when its credential becomes invalid."""

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


@pytest.mark.parametrize("credential", ["header", "cookie"])
def test_stream_ends_when_its_token_is_revoked(new_guarded_service: Any, credential: str) -> None:
    service = new_guarded_service()
    with service.store() as store:
        with store.write_session() as session:
            # The run stays queued, so its stream does not end by itself: it is another process's.
            values = RunSpec().model_dump(mode="json")
            run_id = runs.create(session, "", [], values, 1, "another process").id
        path = f"/runs/{run_id}/events"
        token, headers = "read", {}
        if credential == "cookie":
            body = {"token": service.tokens["read"]}
            signed_in = service.request("POST", "/session", json=body)
            token, headers = None, {"cookie": signed_in.headers["set-cookie"].partition(";")[0]}
        with ThreadPoolExecutor(1) as threads:
            stream = threads.submit(service.request, "GET", path, token, headers=headers)
            assert not wait_for([stream], 1.5 * RECHECK_SECONDS).done
            with store.write_session() as session:
                token_id = tokens.get_by_digest(session, digest(service.tokens["read"])).id
                tokens.revoke(session, token_id)
            service.clear_credential_cache()
            response = stream.result(20)
    assert response.status_code == 200
    assert "event: status" in response.text
    assert service.request("GET", path, token, headers=headers).status_code == 401


def test_simultaneous_requests_share_one_credential_query() -> None:
    queries: list[str] = []

    def query() -> str:
        queries.append("query")
        time.sleep(0.05)
        return "principal"

    async def scenario() -> list[str]:
        lookups = SharedQueries()
        first = asyncio.create_task(lookups.run("token", query))
        other_tasks = [asyncio.create_task(lookups.run("token", query)) for _ in range(50)]
        await asyncio.sleep(0)
        first.cancel()  # a disconnected client does not cancel the query of others
        results = await asyncio.gather(*other_tasks)
        assert len(queries) == 1
        return [*results, await lookups.run("token", query)]

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(asyncio.run, scenario()).result() == 51 * ["principal"]
    assert len(queries) == 2  # results are not cached here, but in the credential cache
