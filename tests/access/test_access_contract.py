"""schemathesis over the whole OpenAPI schema: no 500, and no required token is ignored."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import ignored_auth

from service.app import create_app
from service.core.spec import RunSpec
from service.flows import runs as run_flows
from service.jobs.inline import InlineExecutor
from service.settings import Settings
from service.store import runs
from tests.access.conftest import GuardedService

schemathesis.serializer.alias("application/zip", "application/octet-stream")

OPERATIONS = sorted(
    [
        (path, method)
        for path, operations in create_app(Settings()).openapi()["paths"].items()
        for method in operations
    ],
    key=lambda operation: operation[1] == "delete",  # last, because other operations need the run
)
BOUNDED = settings(
    max_examples=2,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedService]:
    """A service with a finished run of the digits and without rate limits."""
    guarded_service = GuardedService(
        tmp_path_factory.mktemp("recorded"),
        rate_limit="1000000/minute",
        sign_in_limit="1000000/minute",
        allowed_hosts="testserver",
    )
    services = guarded_service.app.state.services
    spec = RunSpec(dataset="digits", epochs=1, samples_per_epoch=20, batch_size=20)
    run = run_flows.start_run(services.store, InlineExecutor(), services.workspace, spec)
    with services.store.read_session() as session:
        assert runs.get(session, run.id).status == "succeeded"
    # Generated runs stay queued, whether the request dispatches them or a scan of the queue.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InlineExecutor, "submit", lambda *_: None)
        yield guarded_service
        guarded_service.close()


@pytest.fixture(scope="module")
def contract(service: GuardedService) -> Any:
    bearer = {"Authorization": f"Bearer {service.tokens['read']}"}
    return schemathesis.openapi.from_asgi("/openapi.json", service.app, headers=bearer)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_no_request_is_a_server_error_and_no_token_is_ignored(
    service: GuardedService, contract: Any, path: str, method: str
) -> None:
    bearer = {"Authorization": f"Bearer {service.tokens['admin']}"}

    @BOUNDED
    @given(case=contract[path][method].as_strategy())
    def send_request(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=bearer, checks=[not_a_server_error, ignored_auth])

    send_request()
