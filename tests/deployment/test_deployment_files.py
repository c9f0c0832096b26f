"""The container files: linted, safe by what they say, and their steps done as far as that goes.

There is no container engine here, so the image's steps are done one by one in a temporary folder:
the build context as .dockerignore leaves it, the wheel, its installation, the service's first look
at an empty database, the health check.
"""

import json
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent
UV = ROOT / ".venv-boot" / "bin" / "uv"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def instructions(name: str) -> list[str]:
    """The Dockerfile's instructions of that name, in order, continuation lines joined."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    return [line.removeprefix(f"{name} ") for line in joined.splitlines() if line.startswith(name)]


# Linters


@pytest.mark.parametrize("file", ["Dockerfile", "deploy/Dockerfile"])
def test_dockerfile_passes_its_linter(file):
    subprocess.run([BIN / "hadolint", ROOT / file], check=True)


def test_compose_file_fits_the_specification():
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    subprocess.run([*command, ROOT / "docker-compose.yml"], check=True)


# The image


def test_base_is_a_build_argument_pinned_by_tag():
    assert re.fullmatch(r"BASE=python:3\.\d+-slim-\w+", instructions("ARG")[0])
    assert instructions("FROM")[0] == "${BASE} AS base"
    assert all(source.split()[0] in {"${BASE}", "base"} for source in instructions("FROM"))


def test_image_runs_as_a_fixed_user_that_is_not_root():
    assert instructions("USER") == ["10001:10001"]


def test_image_writes_to_its_volume_alone():
    environment = " ".join(instructions("ENV"))
    assert instructions("VOLUME") == ['["/data"]']
    assert "CAMREEL_STATE_DIR=/data" in environment
    assert "PYTHONDONTWRITEBYTECODE=1" in environment


def test_image_serves_on_its_port():
    assert json.loads(instructions("CMD")[-1]) == ["camreel", "serve"]
    assert instructions("EXPOSE") == ["8000"]
    assert "CAMREEL_PORT=8000" in instructions("ENV")[-1]


def test_every_dependency_is_installed_by_hash():
    (install,) = (step for step in instructions("RUN") if "requirements.lock" in step)
    default = install.partition("else")[0]
    assert "pip install --no-deps --require-hashes -r requirements.lock" in default


def test_cpu_index_takes_torch_alone_out_of_the_lock(tmp_path):
    lock = ROOT / "requirements.lock"
    (program,) = re.findall(r"awk '(.+)'", DOCKERFILE)
    rest = tmp_path / "rest.lock"
    rest.write_bytes(subprocess.run(["awk", program, lock], check=True, capture_output=True).stdout)
    whole, kept = locked(lock), locked(rest)
    assert {"torch", "torchvision", "triton", "nvidia-cublas"} <= whole - kept
    assert kept < whole
    taken = {name for name in whole - kept if not re.match(r"torch|triton$|nvidia-|cuda-", name)}
    assert not taken
    assert rest.read_text().count("--hash=") > len(kept)

    (pattern,) = re.findall(r"grep -oE '(.+)' requirements.lock", DOCKERFILE)
    torch = re.findall(pattern.removeprefix("^"), "\n".join(pinned(lock)))
    assert len(torch) == 2


def pinned(lock: Path) -> list[str]:
    return re.findall(r"^[a-z0-9][\w.-]*==[^ ;]+", lock.read_text(), flags=re.MULTILINE)


def locked(lock: Path) -> set[str]:
    return {line.partition("==")[0] for line in pinned(lock)}


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_health_check_tells_a_healthy_service_from_another(status, healthy):
    (line,) = instructions("HEALTHCHECK")
    _, script, code = json.loads(line.partition("CMD ")[2])
    with answering("/healthz", status) as port:
        check = run_check(script, code, port)
    assert (check.returncode == 0) is healthy


def test_health_check_notices_a_service_that_is_gone():
    (line,) = instructions("HEALTHCHECK")
    _, script, code = json.loads(line.partition("CMD ")[2])
    with answering("/healthz", 200) as port:
        pass
    assert run_check(script, code, port).returncode != 0


def run_check(script: str, code: str, port: int) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, script, code]
    return subprocess.run(command, env={"CAMREEL_PORT": str(port)}, capture_output=True)


@contextmanager
def answering(path: str, status: int) -> Iterator[int]:
    """A server that answers `path` with `status`; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == path else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


# Compose


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_every_container_is_confined(service):
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "/tmp" in service["tmpfs"]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["interval"]
    assert not {"privileged", "network_mode", "pid", "ipc", "devices"} & set(service)


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_this_machine_alone_but_for_the_tls_proxys(name):
    ports = SERVICES[name].get("ports", [])
    if name == "proxy":
        assert ports == ["80:8080", "443:8443"]
    else:
        assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_data_lives_in_named_volumes(service):
    for volume in service["volumes"]:
        assert volume.partition(":")[0] in COMPOSE["volumes"]


def test_sqlite_is_what_starts_by_default():
    assert [name for name, service in SERVICES.items() if "profiles" not in service] == ["camreel"]
    assert SERVICES["camreel"]["ports"] == ["127.0.0.1:8000:8000"]
    assert "environment" not in SERVICES["camreel"]


def test_postgres_profile_takes_its_password_from_the_environment():
    database, service = SERVICES["postgres"], SERVICES["camreel-postgres"]
    assert database["profiles"] == service["profiles"] == ["postgres"]
    assert "ports" not in database
    assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    # Empty where it is not set; then the database's image refuses to start, and the service waits.
    assert database["environment"]["POSTGRES_PASSWORD"] == "${POSTGRES_PASSWORD:-}"
    assert service["environment"]["PGPASSWORD"] == "${POSTGRES_PASSWORD:-}"


def test_tls_profile_puts_a_proxy_before_a_service_that_nobody_else_reaches():
    service, proxy = SERVICES["camreel-tls"], SERVICES["proxy"]
    assert service["profiles"] == proxy["profiles"] == ["tls"]
    assert "ports" not in service
    assert service["networks"] == proxy["networks"] == ["proxied"]
    assert [name for name, one in SERVICES.items() if "proxied" in one.get("networks", [])] == [
        "camreel-tls",
        "proxy",
    ]
    assert proxy["depends_on"] == {"camreel-tls": {"condition": "service_healthy"}}
    # The proxy's word on client and scheme is taken, under the name that it is asked by.
    settings = service["environment"]
    assert settings["CAMREEL_TRUSTED_PROXIES"] == "*"
    assert settings["CAMREEL_ALLOWED_HOSTS"] == proxy["environment"]["CAMREEL_DOMAIN"]
    caddyfile = (ROOT / "deploy" / "Caddyfile").read_text()
    assert "reverse_proxy camreel-tls:8000" in caddyfile
    assert {"http_port 8080", "https_port 8443"} <= {
        line.strip() for line in caddyfile.splitlines()
    }


def test_tls_profile_takes_its_first_token_from_a_file_that_is_in_no_repository_or_image():
    service = SERVICES["camreel-tls"]
    assert service["secrets"] == ["camreel-token"]
    assert service["environment"]["CAMREEL_BOOTSTRAP_TOKEN_FILE"] == "/run/secrets/camreel-token"
    assert COMPOSE["secrets"]["camreel-token"] == {"file": "deploy/secrets/camreel-token"}
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert "!deploy" not in (ROOT / ".dockerignore").read_text()


def test_the_image_listens_for_its_proxy_and_so_needs_a_token():
    assert "CAMREEL_HOST=0.0.0.0" in instructions("ENV")[-1]
    assert "CAMREEL_AUTH" not in DOCKERFILE
    head = (ROOT / "docker-compose.yml").read_text()
    assert "docker compose run --rm camreel camreel token create me --scope admin" in head


def test_sqlite_needs_no_password_to_be_set():
    # Compose reads the variables of all services, whatever the profile.
    assert ":?" not in json.dumps(SERVICES)


# The image's steps


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Path:
    """The build context: what .dockerignore lets through."""
    folder = tmp_path_factory.mktemp("context")
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines, "everything is left out that is not let in"
    left_out = [ROOT / line for line in lines if "/" in line and "*" not in line]

    def ignored(where: str, names: list[str]) -> set[str]:
        return {name for name in names if name == "__pycache__" or Path(where, name) in left_out}

    for name in (line.removeprefix("!") for line in lines if line.startswith("!")):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)
    assert not any((folder / path.relative_to(ROOT)).exists() for path in left_out)
    return folder


@pytest.fixture(scope="module")
def wheel(context, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    build = [UV, "build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", folder]
    # The set-up's own editable install left the build backend in uv's cache, so this needs no
    # network; where the cache was emptied since, it does.
    if subprocess.run([*build, "--offline", context], capture_output=True).returncode:
        subprocess.run([*build, context], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    install = [UV, "pip", "install", "--quiet", "--offline", "--no-deps", "--link-mode", "copy"]
    subprocess.run([*install, "--python", sys.executable, "--target", folder, wheel], check=True)
    return folder


def test_context_copies_what_the_image_takes(context):
    for copied in instructions("COPY"):
        *sources, _ = copied.split()
        if not copied.startswith("--from"):
            assert all((context / source).exists() for source in sources)


def test_wheel_holds_the_package_its_data_and_its_migrations(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "service").rglob("*.py")}
    migrations = {
        f"service/{path.relative_to(ROOT)}" for path in (ROOT / "migrations").rglob("*.py")
    }
    assert sources | migrations <= names
    assert {
        "service/core/datasets/digits.npz",
        "service/migrations/script.py.mako",
        "service/py.typed",
        "service/report/templates/report.jinja",
        "service/report/templates/style.css",
        "service/web/page/index.html",
    } <= names
    assert [name for name in names if name.startswith("service/web/page/assets/")]
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests/")]


FIRST_LOOK = """
import json, sys
opened = []
sys.addaudithook(lambda event, data: event == "open" and opened.append(str(data[0])))
# The editable install of the tests' environment is not in the image.
sys.path[:] = [path for path in sys.path if path != sys.argv[1]]

from service.store import runs, schema
from service.store.store import open_store

with open_store("sqlite:///camreel.db") as store:
    schema.ensure(store)
    schema.ensure(store)
    with store.read_session() as session:
        counted = runs.count_by_status(session)
print(json.dumps({"runs": sum(counted.values()), "opened": opened}))
"""


def test_installed_copy_makes_its_database_without_the_checkout(installed, tmp_path):
    answer = json.loads(
        subprocess.run(
            [sys.executable, "-c", FIRST_LOOK, ROOT],
            cwd=tmp_path,
            env={"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
    )
    assert answer["runs"] == 0
    assert (tmp_path / "camreel.db").is_file()
    opened = [Path(path) for path in answer["opened"]]
    assert installed / "service" / "migrations" / "env.py" in opened
    environment = Path(sys.prefix)
    of_checkout = [
        path
        for path in opened
        if path.is_relative_to(ROOT) and not path.is_relative_to(environment)
    ]
    assert of_checkout == []


def test_installed_copy_has_the_command(installed):
    (script,) = (installed / "bin").glob("camreel*")
    done = subprocess.run(
        [sys.executable, script, "--help"],
        env={"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout
