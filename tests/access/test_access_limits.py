"""Rate limits: by token, or by address without a token."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.settings import Settings


def test_each_token_has_its_own_limit_and_retry_after(new_guarded_service: Any) -> None:
    service = new_guarded_service(rate_limit="3/minute")
    rate_limits = [service.request("GET", "/runs", "read").headers["ratelimit"] for _ in range(3)]
    assert [item.split(";")[1] for item in rate_limits] == ["r=2", "r=1", "r=0"]
    response = service.request("GET", "/runs", "read")
    assert (response.status_code, response.json()["type"]) == (429, "rate-limited")
    assert 1 <= int(response.headers["retry-after"]) <= 61
    assert response.headers["ratelimit-policy"] == '"requests";q=3;w=60'
    assert response.headers["ratelimit"].startswith('"requests";r=0;t=')
    assert service.request("GET", "/runs", "run").status_code == 200
    # Health checks and files of the page are not limited.
    assert service.request("GET", "/healthz").status_code == 200


def test_requests_without_a_valid_token_are_limited_by_address(new_guarded_service: Any) -> None:
    service = new_guarded_service(rate_limit="2/minute")
    statuses = [service.request("GET", "/runs", "unknown").status_code for _ in range(3)]
    assert statuses == [401, 401, 429]
    assert service.request("GET", "/runs", client=("192.0.2.9", 1)).status_code == 401
    assert service.request("GET", "/runs", "read").status_code == 200


def test_sign_ins_are_limited_by_address(new_guarded_service: Any) -> None:
    service = new_guarded_service(sign_in_limit="2/minute")
    body = {"token": "guess"}
    statuses = [service.request("POST", "/session", json=body).status_code for _ in range(3)]
    assert statuses == [401, 401, 429]
    valid_body = {"token": service.tokens["read"]}
    response = service.request("POST", "/session", json=valid_body)
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1
    other_client_response = service.request(
        "POST", "/session", json=valid_body, client=("192.0.2.9", 1)
    )
    assert other_client_response.status_code == 200


@pytest.mark.parametrize("text", ["", "many", "5", "5/fortnight", "-1/minute"])
def test_invalid_rate_limit_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="rate_limit"):
        Settings(rate_limit=text)
