"""How often one may ask: by token, and by address without one."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.settings import Settings


def test_a_token_has_its_own_count_and_is_told_when_to_come_back(guarded: Any) -> None:
    service = guarded(rate_limit="3/minute")
    left = [service.ask("GET", "/runs", "read").headers["ratelimit"] for _ in range(3)]
    assert [item.split(";")[1] for item in left] == ["r=2", "r=1", "r=0"]
    refused = service.ask("GET", "/runs", "read")
    assert (refused.status_code, refused.json()["type"]) == (429, "rate-limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert refused.headers["ratelimit-policy"] == '"requests";q=3;w=60'
    assert refused.headers["ratelimit"].startswith('"requests";r=0;t=')
    assert service.ask("GET", "/runs", "run").status_code == 200
    # Health and the page's files are not counted.
    assert service.ask("GET", "/healthz").status_code == 200


def test_without_a_good_token_the_address_is_counted(guarded: Any) -> None:
    service = guarded(rate_limit="2/minute")
    statuses = [service.ask("GET", "/runs", "unknown").status_code for _ in range(3)]
    assert statuses == [401, 401, 429]
    assert service.ask("GET", "/runs", client=("192.0.2.9", 1)).status_code == 401
    assert service.ask("GET", "/runs", "read").status_code == 200


def test_sign_ins_are_few(guarded: Any) -> None:
    service = guarded(sign_in_limit="2/minute")
    body = {"token": "guess"}
    statuses = [service.ask("POST", "/session", json=body).status_code for _ in range(3)]
    assert statuses == [401, 401, 429]
    good = {"token": service.tokens["read"]}
    refused = service.ask("POST", "/session", json=good)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    elsewhere = service.ask("POST", "/session", json=good, client=("192.0.2.9", 1))
    assert elsewhere.status_code == 200


@pytest.mark.parametrize("text", ["", "many", "5", "5/fortnight", "-1/minute"])
def test_a_rate_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValidationError, match="rate_limit"):
        Settings(rate_limit=text)
