"""A service by HTTP. The only module that needs httpx."""

import email.utils
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from camreel.errors import LeaseLost, Refused, RunEnded, Unavailable
from camreel.spool.destination import EpochContent, RunLease, TensorSource

PART_BYTES = 4 * 2**20
"""Of a tensor in one request: a connection that breaks costs at most as much."""

TIMEOUT = httpx.Timeout(60, connect=10)
MAX_RETRY_AFTER_SECONDS = 3600.0
UNAVAILABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 507})


class HttpDestination:
    """A service at an address. `on_part` is called after each part of a tensor."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        part_bytes: int = PART_BYTES,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url: must be an address such as http://127.0.0.1:8000, not {url!r}")
        # Without a user's password, which must not be in the spool.
        netloc = parts.netloc.rpartition("@")[2]
        self.name = urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=TIMEOUT, transport=transport
        )
        self._part_bytes = part_bytes
        self.on_part: Callable[[], None] = lambda: None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def add_network(self, program: bytes) -> str:
        """`POST /networks`."""
        headers = {"Content-Type": "application/json"}
        return str(self._send("POST", "/networks", content=program, headers=headers).json()["id"])

    def create_run(self, body: Mapping[str, Any], recording_id: str) -> RunLease:
        """`POST /runs`, with the id as idempotency key."""
        headers = {"Idempotency-Key": recording_id}
        run = self._send("POST", "/runs", json=dict(body), headers=headers).json()
        return RunLease(run["id"], run["lease"])

    def take_over(self, run_id: int, *, is_reopened: bool) -> RunLease:
        """`POST /runs/{id}/lease`."""
        query = {"reopen": "true"} if is_reopened else {}
        response = self._send("POST", f"/runs/{run_id}/lease", params=query)
        return RunLease(run_id, response.json()["lease"])

    def put_probe(self, lease: RunLease, position: int, png: bytes, label: int | None) -> None:
        """`PUT /runs/{id}/probes/{position}`."""
        query = {} if label is None else {"label": str(label)}
        self._write("PUT", lease, f"probes/{position}", content=png, params=query)

    def put_epoch(self, lease: RunLease, index: int, content: EpochContent) -> list[str]:
        """`PUT /runs/{id}/epochs/{epoch}`."""
        response = self._request(
            "PUT",
            f"/runs/{lease.run_id}/epochs/{index}",
            json={
                "tensors": dict(content.tensors),
                "metrics": dict(content.metrics),
                "steps": dict(content.steps),
            },
            headers={"Camreel-Lease": lease.lease},
        )
        if response.status_code == 422:
            missing_hashes: list[str] = _problem(response).get("missing") or []
            if missing_hashes:
                return missing_hashes
        _check(response)
        return []

    def put_tensor(self, tensor: TensorSource) -> None:
        """`PUT /tensors/{sha256}`, in parts, from the first byte that the service asks for."""
        offset = 0
        while True:
            last = min(offset + self._part_bytes, tensor.size_bytes) - 1
            response = self._request(
                "PUT",
                f"/tensors/{tensor.sha256}",
                content=tensor.read(offset, last + 1 - offset),
                headers={"Content-Range": f"bytes {offset}-{last}/{tensor.size_bytes}"},
            )
            self.on_part()
            if response.status_code in (202, 409) and "Upload-Offset" in response.headers:
                # 409: another request has stored more, or less is stored than before.
                next_offset = int(response.headers["Upload-Offset"])
                if response.status_code == 202 and next_offset <= offset:
                    raise Unavailable("the service does not store the parts of a tensor")
                offset = next_offset
                continue
            _check(response)
            return

    def put_metrics(self, lease: RunLease, index: int, metrics: Mapping[str, float | None]) -> None:
        """`POST /runs/{id}/epochs/{epoch}/metrics`."""
        self._write("POST", lease, f"epochs/{index}/metrics", json={"metrics": dict(metrics)})

    def heartbeat(self, lease: RunLease) -> None:
        """`POST /runs/{id}/heartbeat`."""
        self._write("POST", lease, "heartbeat")

    def end(self, lease: RunLease, status: str, detail: str) -> None:
        """`POST /runs/{id}/finish`, `/fail` or `/cancel`."""
        if status == "succeeded":
            self._write("POST", lease, "finish")
        elif status == "failed":
            self._write("POST", lease, "fail", json={"detail": detail})
        else:
            try:
                self._write("POST", lease, "cancel")
            except Refused:
                run = self._send("GET", f"/runs/{lease.run_id}").json()
                if run["status"] != "cancelled":
                    raise

    def run(self, run_id: int) -> dict[str, Any]:
        """`GET /runs/{id}`."""
        return dict(self._send("GET", f"/runs/{run_id}").json())

    def _write(self, method: str, lease: RunLease, path: str, **options: Any) -> None:
        headers = {"Camreel-Lease": lease.lease}
        self._send(method, f"/runs/{lease.run_id}/{path}", headers=headers, **options)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = self._request(method, path, **options)
        _check(response)
        return response

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"the service does not answer: {reason}") from error


def _check(response: httpx.Response) -> None:
    if response.is_success:
        return
    problem = _problem(response)
    detail = str(problem.get("detail") or problem.get("title") or response.reason_phrase)
    errors = "; ".join(f"{e.get('field')}: {e.get('message')}" for e in problem.get("errors") or [])
    reason = f"{response.status_code}: {detail}{f' ({errors})' if errors else ''}"
    if response.status_code in UNAVAILABLE_STATUSES:
        raise Unavailable(reason, _retry_after_seconds(response))
    if problem.get("type") == "lease-stale":
        raise LeaseLost(reason)
    if problem.get("type") == "run-ended":
        raise RunEnded(reason)
    raise Refused(reason)


def _problem(response: httpx.Response) -> dict[str, Any]:
    with suppress(ValueError):
        content = response.json()
        if isinstance(content, dict):
            return content
    return {}


def _retry_after_seconds(response: httpx.Response) -> float | None:
    """`Retry-After` as seconds: a number, or the time until a date."""
    text = response.headers.get("Retry-After", "")
    if text.isdecimal():
        return min(float(text), MAX_RETRY_AFTER_SECONDS)
    with suppress(ValueError, TypeError):
        seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
    return None
