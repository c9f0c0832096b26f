"""Jobs and tokens: the scope read permits jobs and ending one's own, admin permits ending any."""

from service.flows import access
from tests.access.conftest import GuardedService
from tests.pools.conftest import wait_until

ASYNC = {"prefer": "respond-async"}
URL = "/runs/1/sheet"


def start(service: GuardedService, token: str) -> int:
    response = service.request("GET", URL, token, headers=ASYNC)
    assert response.status_code == 202, response.text
    job_id = int(response.json()["id"])
    wait_until(lambda: service.request("GET", f"/jobs/{job_id}", "read").json()["finished_at"])
    return job_id


def test_read_token_creates_and_ends_its_own_jobs(trained_service: GuardedService) -> None:
    job_id = start(trained_service, "read")
    assert trained_service.request("DELETE", f"/jobs/{job_id}", "read").status_code == 204


def test_job_of_another_token_can_be_read_but_not_ended(trained_service: GuardedService) -> None:
    job_id = start(trained_service, "run")
    assert trained_service.request("GET", f"/jobs/{job_id}/result", "read").status_code == 200
    response = trained_service.request("DELETE", f"/jobs/{job_id}", "read")
    assert (response.status_code, response.json()["type"]) == (403, "job-not-owned")
    assert trained_service.request("DELETE", f"/jobs/{job_id}", "admin").status_code == 204


def test_same_request_by_two_tokens_is_two_jobs(trained_service: GuardedService) -> None:
    assert start(trained_service, "read") != start(trained_service, "run")


def test_ending_a_job_by_cookie_requires_the_csrf_token(trained_service: GuardedService) -> None:
    with trained_service.store() as store:
        secret, principal = access.sign_in(store, trained_service.tokens["read"])
    job_id = start(trained_service, "read")
    cookie = {"cookie": f"camreel_session={secret}"}
    assert trained_service.request("DELETE", f"/jobs/{job_id}", headers=cookie).status_code == 403
    headers = cookie | {"x-csrf-token": str(principal.sign_in_proof)}
    assert trained_service.request("DELETE", f"/jobs/{job_id}", headers=headers).status_code == 204
