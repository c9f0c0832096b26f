"""Jobs and tokens: a reader creates jobs and ends its own, an administrator ends any."""

from service.flows import access
from tests.access.conftest import Guarded
from tests.lanes.conftest import wait_until

ASYNC = {"prefer": "respond-async"}
URL = "/runs/1/sheet"


def start(service: Guarded, token: str) -> int:
    accepted = service.ask("GET", URL, token, headers=ASYNC)
    assert accepted.status_code == 202, accepted.text
    job_id = int(accepted.json()["id"])
    wait_until(lambda: service.ask("GET", f"/jobs/{job_id}", "read").json()["finished_at"])
    return job_id


def test_a_reader_creates_and_ends_its_own_jobs(trained: Guarded) -> None:
    job_id = start(trained, "read")
    assert trained.ask("DELETE", f"/jobs/{job_id}", "read").status_code == 204


def test_another_tokens_job_is_read_and_not_ended(trained: Guarded) -> None:
    job_id = start(trained, "run")
    assert trained.ask("GET", f"/jobs/{job_id}/result", "read").status_code == 200
    refused = trained.ask("DELETE", f"/jobs/{job_id}", "read")
    assert (refused.status_code, refused.json()["type"]) == (403, "job-not-owned")
    assert trained.ask("DELETE", f"/jobs/{job_id}", "admin").status_code == 204


def test_jobs_of_two_tokens_are_two_jobs(trained: Guarded) -> None:
    assert start(trained, "read") != start(trained, "run")


def test_a_job_is_not_ended_by_a_cookie_without_its_csrf_value(trained: Guarded) -> None:
    with trained.store() as store:
        secret, who = access.sign_in(store, trained.tokens["read"])
    job_id = start(trained, "read")
    cookie = {"cookie": f"camreel_session={secret}"}
    assert trained.ask("DELETE", f"/jobs/{job_id}", headers=cookie).status_code == 403
    shown = cookie | {"x-csrf-token": str(who.sign_in_proof)}
    assert trained.ask("DELETE", f"/jobs/{job_id}", headers=shown).status_code == 204
