"""Tokens and the audit log, and access to a server beyond loopback."""

import re
import sqlite3
from pathlib import Path

import pytest

from service.flows.credentials import TOKEN, digest, new_token
from tests.cli.commands import camreel
from tests.conftest import Service


def create_token(folder: Path, name: str, *options: str) -> str:
    process = camreel(folder, "token", "create", name, *options, "--state-dir", str(folder))
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def test_token_create_list_revoke_show_the_secret_only_once(tmp_path: Path) -> None:
    state = ("--state-dir", str(tmp_path))
    token = create_token(tmp_path, "alice", "--scope", "run", "--expires-days", "30")
    assert TOKEN.fullmatch(token)  # the only line on standard output
    token_list = camreel(tmp_path, "token", "list", *state)
    assert re.search(r"1 .* alice .* run .* live", token_list.stdout)
    assert token not in token_list.stdout
    assert digest(token) not in token_list.stdout
    revocation = camreel(tmp_path, "token", "revoke", "1", *state)
    assert "Token 1 (alice) is revoked" in revocation.stdout
    assert "no longer requires one" in revocation.stdout
    assert "revoked" in camreel(tmp_path, "token", "list", *state).stdout
    audit_log = camreel(tmp_path, "audit", *state).stdout
    assert audit_log.index("token revoke") < audit_log.index("token create")
    assert "command line" in audit_log
    assert token not in audit_log
    unknown_id = camreel(tmp_path, "token", "revoke", "9", *state)
    assert (unknown_id.returncode, unknown_id.stderr) == (1, "camreel: There is no token 9.\n")
    invalid_scope = camreel(tmp_path, "token", "create", "bob", "--scope", "root", *state)
    assert invalid_scope.returncode == 1
    assert "one of read, run, admin" in invalid_scope.stderr


def test_serve_beyond_loopback_needs_a_valid_token(tmp_path: Path) -> None:
    state = ("--state-dir", str(tmp_path))
    serve = ("serve", "--host", "0.0.0.0", "--port", "0", *state)
    process = camreel(tmp_path, *serve)
    assert process.returncode == 1
    assert process.stdout == ""
    (line,) = process.stderr.splitlines()
    assert line.endswith("run: camreel token create NAME --scope admin")
    create_token(tmp_path, "gone")
    camreel(tmp_path, "token", "revoke", "1", *state)
    assert camreel(tmp_path, *serve).returncode == 1


def test_serve_with_bootstrap_file_requires_its_token(tmp_path: Path) -> None:
    token = new_token()
    secret = tmp_path / "secret"
    secret.write_text(f"{token}\n")
    state = tmp_path / "state"
    state.mkdir()
    service = Service(
        state, {"CAMREEL_HOST": "0.0.0.0", "CAMREEL_BOOTSTRAP_TOKEN_FILE": str(secret)}
    )
    service.start()
    try:
        assert service.http.get("/healthz").status_code == 200
        assert service.http.get("/runs").status_code == 401
        bearer = {"authorization": f"Bearer {token}"}
        assert service.http.get("/runs", headers=bearer).status_code == 200
        # No proxy is trusted, so X-Forwarded-Proto does not make the cookie secure.
        response = service.http.post(
            "/session", json={"token": token}, headers={"x-forwarded-proto": "https"}
        )
        assert "secure" not in response.headers["set-cookie"].lower()
        # The service accepts a token that another process creates.
        second_token = create_token(state, "other")
        assert (
            service.http.get(
                "/runs", headers={"authorization": f"Bearer {second_token}"}
            ).status_code
            == 200
        )
    finally:
        service.stop()
    with sqlite3.connect(state / "camreel.db") as database:
        dump = "\n".join(database.iterdump())
    assert token not in dump
    assert digest(token) in dump


def test_https_header_of_trusted_proxy_makes_cookie_secure(tmp_path: Path) -> None:
    token = create_token(tmp_path, "alice", "--scope", "read")
    service = Service(tmp_path, {"CAMREEL_TRUSTED_PROXIES": "127.0.0.1"})
    service.start()
    try:
        headers = {"x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.9"}
        response = service.http.post("/session", json={"token": token}, headers=headers)
        assert "; secure" in response.headers["set-cookie"].lower()
        assert "strict-transport-security" in response.headers
    finally:
        service.stop()


@pytest.mark.parametrize(
    "content",
    ["secret", *(pytest.param(text, marks=pytest.mark.torture) for text in ("", None))],
)
def test_serve_with_bootstrap_file_without_a_token_fails(
    tmp_path: Path, content: str | None
) -> None:
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_text(content)
    process = camreel(tmp_path, "serve", "--port", "0", CAMREEL_BOOTSTRAP_TOKEN_FILE=str(secret))
    assert process.returncode == 1
    assert "bootstrap_token_file" in process.stderr
    assert str(tmp_path) not in process.stderr
