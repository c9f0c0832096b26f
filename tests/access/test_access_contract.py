"""The whole contract is asked by schemathesis: nothing that it makes up is answered with 500, and
no operation that says it needs a token does without one."""

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
from tests.access.conftest import Guarded

OPERATIONS = sorted(
    [
        (path, method)
        for path, operations in create_app(Settings()).openapi()["paths"].items()
        for method in operations
    ],
    key=lambda one: one[1] == "delete",  # last: the others need the run
)
BOUNDED = settings(
    max_examples=4,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A guarded application with a finished run of the digits, that counts nobody's requests."""
    made = Guarded(
        tmp_path_factory.mktemp("recorded"),
        rate_limit="1000000/minute",
        sign_in_limit="1000000/minute",
        allowed_hosts="testserver",
    )
    services = made.app.state.services
    spec = RunSpec(dataset="digits", epochs=1, samples_per_epoch=20, batch_size=20)
    run = run_flows.start_run(services.store, InlineExecutor(), services.workspace, spec)
    with services.store.read_session() as session:
        assert runs.get(session, run.id).status == "succeeded"
    # Runs that are made up wait for a worker that never comes.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_flows, "dispatch_run", lambda *_: None)
        yield made
    made.close()


@pytest.fixture(scope="module")
def contract(recorded: Guarded) -> Any:
    bearer = {"Authorization": f"Bearer {recorded.tokens['read']}"}
    return schemathesis.openapi.from_asgi("/openapi.json", recorded.app, headers=bearer)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_nothing_made_up_is_a_server_error_and_no_token_is_ignored(
    recorded: Guarded, contract: Any, path: str, method: str
) -> None:
    bearer = {"Authorization": f"Bearer {recorded.tokens['admin']}"}

    @BOUNDED
    @given(case=contract[path][method].as_strategy())
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=bearer, checks=[not_a_server_error, ignored_auth])

    ask()
