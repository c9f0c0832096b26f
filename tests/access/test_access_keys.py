"""A key of a request is its client's own."""

from collections.abc import Callable

from tests.access.conftest import Guarded

RUN = {
    "dataset": "digits",
    "epochs": 1,
    "samples_per_epoch": 60,
    "architecture": {"channels": [2, 3], "hidden_units": 8},
}


def test_two_tokens_may_name_their_requests_alike(guarded: Callable[..., Guarded]) -> None:
    one = guarded()
    headers = {"Idempotency-Key": "the first"}
    runs, admins = (
        [
            one.ask("POST", "/runs", item_type, json=RUN, headers=headers).json()["id"]
            for _ in range(2)
        ]
        for item_type in ("run", "admin")
    )
    assert runs == [1, 1]
    assert admins == [2, 2]
