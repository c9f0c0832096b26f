"""Idempotency keys are separate for each token."""

from collections.abc import Callable

from tests.access.conftest import GuardedService

RUN = {
    "dataset": "digits",
    "epochs": 1,
    "samples_per_epoch": 60,
    "architecture": {"channels": [2, 3], "hidden_units": 8},
}


def test_two_tokens_can_use_the_same_idempotency_key(
    new_guarded_service: Callable[..., GuardedService],
) -> None:
    service = new_guarded_service()
    headers = {"Idempotency-Key": "the first"}
    run_token_ids, admin_token_ids = (
        [
            service.request("POST", "/runs", scope, json=RUN, headers=headers).json()["id"]
            for _ in range(2)
        ]
        for scope in ("run", "admin")
    )
    assert run_token_ids == [1, 1]
    assert admin_token_ids == [2, 2]
