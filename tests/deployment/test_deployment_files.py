"""The container files: linters, security settings, and the steps of the image's build.

The tests need no container engine: they run the image's steps one by one in a temporary directory.
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
    """Arguments of the Dockerfile's instructions of that name, with continuation lines joined."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE)
    return [line.removeprefix(f"{name} ") for line in text.splitlines() if line.startswith(name)]


# Linters


@pytest.mark.parametrize("file", ["Dockerfile", "deploy/Dockerfile"])
def test_dockerfile_passes_hadolint(file):
    subprocess.run([BIN / "hadolint", ROOT / file], check=True)


def test_compose_file_matches_the_compose_specification():
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    subprocess.run([*command, ROOT / "docker-compose.yml"], check=True)


# The image


def test_base_is_a_build_argument_pinned_by_tag():
    assert re.fullmatch(r"BASE=python:3\.\d+-slim-\w+", instructions("ARG")[0])
    assert instructions("FROM")[0] == "${BASE} AS base"
    assert all(source.split()[0] in {"${BASE}", "base"} for source in instructions("FROM"))


def test_image_runs_as_fixed_unprivileged_user():
    assert instructions("USER") == ["10001:10001"]


def test_image_writes_only_to_its_volume():
    environment = " ".join(instructions("ENV"))
    assert instructions("VOLUME") == ['["/data"]']
    assert "CAMREEL_STATE_DIR=/data" in environment
    assert "PYTHONDONTWRITEBYTECODE=1" in environment


def test_image_serves_on_port_8000():
    assert json.loads(instructions("CMD")[-1]) == ["camreel", "serve"]
    assert instructions("EXPOSE") == ["8000"]
    assert "CAMREEL_PORT=8000" in instructions("ENV")[-1]


def test_all_dependencies_are_installed_with_hashes():
    (install,) = (step for step in instructions("RUN") if "requirements.lock" in step)
    default = install.partition("else")[0]
    assert "pip install --no-deps --require-hashes -r requirements.lock" in default


def test_cpu_index_removes_only_torch_and_cuda_from_the_lock(tmp_path):
    lock = ROOT / "requirements.lock"
    (program,) = re.findall(r"awk '(.+)'", DOCKERFILE)
    hashed_lock = tmp_path / "rest.lock"
    filtering = subprocess.run(["awk", program, lock], check=True, capture_output=True)
    hashed_lock.write_bytes(filtering.stdout)
    all_packages, hashed_packages = package_names(lock), package_names(hashed_lock)
    torch_packages = all_packages - hashed_packages
    assert {"torch", "torchvision", "triton", "nvidia-cublas"} <= torch_packages
    assert hashed_packages < all_packages
    assert all(re.match(r"torch|triton$|nvidia-|cuda-", name) for name in torch_packages)
    assert hashed_lock.read_text().count("--hash=") > len(hashed_packages)

    (pattern,) = re.findall(r"grep -oE '(.+)' requirements.lock", DOCKERFILE)
    torch_pins = re.findall(pattern.removeprefix("^"), "\n".join(version_pins(lock)))
    assert len(torch_pins) == 2


def version_pins(lock: Path) -> list[str]:
    return re.findall(r"^[a-z0-9][\w.-]*==[^ ;]+", lock.read_text(), flags=re.MULTILINE)


def package_names(lock: Path) -> set[str]:
    return {pin.partition("==")[0] for pin in version_pins(lock)}


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_health_check_reports_whether_the_service_is_healthy(status, healthy):
    (line,) = instructions("HEALTHCHECK")
    _, script, code = json.loads(line.partition("CMD ")[2])
    with http_server("/healthz", status) as port:
        health_check = run_health_check(script, code, port)
    assert (health_check.returncode == 0) is healthy


def test_health_check_fails_without_a_service():
    (line,) = instructions("HEALTHCHECK")
    _, script, code = json.loads(line.partition("CMD ")[2])
    with http_server("/healthz", 200) as port:
        pass
    assert run_health_check(script, code, port).returncode != 0


def run_health_check(script: str, code: str, port: int) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, script, code]
    return subprocess.run(command, env={"CAMREEL_PORT": str(port)}, capture_output=True)


@contextmanager
def http_server(path: str, status: int) -> Iterator[int]:
    """Port of a server that responds to `path` with `status`, and to other paths with 404."""

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
def test_ports_are_published_on_loopback_except_those_of_the_tls_proxy(name):
    ports = SERVICES[name].get("ports", [])
    if name == "proxy":
        assert ports == ["80:8080", "443:8443"]
    else:
        assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_data_is_stored_in_named_volumes(service):
    for volume in service["volumes"]:
        assert volume.partition(":")[0] in COMPOSE["volumes"]


def test_sqlite_service_starts_by_default():
    assert [name for name, service in SERVICES.items() if "profiles" not in service] == ["camreel"]
    assert SERVICES["camreel"]["ports"] == ["127.0.0.1:8000:8000"]
    assert "environment" not in SERVICES["camreel"]


def test_postgres_profile_takes_its_password_from_the_environment():
    database, service = SERVICES["postgres"], SERVICES["camreel-postgres"]
    assert database["profiles"] == service["profiles"] == ["postgres"]
    assert "ports" not in database
    assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    # If the variable is not set, the database's image refuses to start, and the service waits.
    assert database["environment"]["POSTGRES_PASSWORD"] == "${POSTGRES_PASSWORD:-}"
    assert service["environment"]["PGPASSWORD"] == "${POSTGRES_PASSWORD:-}"


def test_tls_profile_makes_the_service_reachable_only_through_the_proxy():
    service, proxy = SERVICES["camreel-tls"], SERVICES["proxy"]
    assert service["profiles"] == proxy["profiles"] == ["tls"]
    assert "ports" not in service
    assert service["networks"] == proxy["networks"] == ["proxied"]
    proxied_services = [
        name for name, config in SERVICES.items() if "proxied" in config.get("networks", [])
    ]
    assert proxied_services == ["camreel-tls", "proxy"]
    assert proxy["depends_on"] == {"camreel-tls": {"condition": "service_healthy"}}
    # The service trusts the proxy's forwarded headers and accepts the proxy's host name.
    settings = service["environment"]
    assert settings["CAMREEL_TRUSTED_PROXIES"] == "*"
    assert settings["CAMREEL_ALLOWED_HOSTS"] == proxy["environment"]["CAMREEL_DOMAIN"]
    caddyfile = (ROOT / "deploy" / "Caddyfile").read_text()
    assert "reverse_proxy camreel-tls:8000" in caddyfile
    assert {"http_port 8080", "https_port 8443"} <= {
        line.strip() for line in caddyfile.splitlines()
    }


def test_bootstrap_token_file_is_excluded_from_repository_and_image():
    service = SERVICES["camreel-tls"]
    assert service["secrets"] == ["camreel-token"]
    assert service["environment"]["CAMREEL_BOOTSTRAP_TOKEN_FILE"] == "/run/secrets/camreel-token"
    assert COMPOSE["secrets"]["camreel-token"] == {"file": "deploy/secrets/camreel-token"}
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert "!deploy" not in (ROOT / ".dockerignore").read_text()


def test_image_listens_on_all_addresses_and_therefore_requires_a_token():
    assert "CAMREEL_HOST=0.0.0.0" in instructions("ENV")[-1]
    assert "CAMREEL_AUTH" not in DOCKERFILE
    compose_file = (ROOT / "docker-compose.yml").read_text()
    command = "docker compose run --rm camreel camreel token create me --scope admin"
    assert command in compose_file


def test_sqlite_profile_needs_no_password():
    # Compose interpolates the variables of all services, whatever the profile.
    assert ":?" not in json.dumps(SERVICES)


# The image's steps


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Path:
    """The build context: the files that .dockerignore admits."""
    folder = tmp_path_factory.mktemp("context")
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines, "only the listed files are included"
    excluded_paths = [ROOT / line for line in lines if "/" in line and "*" not in line]

    def excluded_names(directory: str, names: list[str]) -> set[str]:
        return {
            name
            for name in names
            if name == "__pycache__" or Path(directory, name) in excluded_paths
        }

    for name in (line.removeprefix("!") for line in lines if line.startswith("!")):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=excluded_names)
        else:
            shutil.copy(ROOT / name, folder / name)
    assert not any((folder / path.relative_to(ROOT)).exists() for path in excluded_paths)
    return folder


def build_wheel(source: Path, folder: Path) -> Path:
    build = [UV, "build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", folder]
    # The editable install of the environment has left the build backend in uv's cache. A network is
    # needed only if the cache was cleared.
    if subprocess.run([*build, "--offline", source], capture_output=True).returncode:
        subprocess.run([*build, source], check=True)
    (wheel_path,) = folder.glob("*.whl")
    return wheel_path


def install_wheels(folder: Path, *wheels: Path) -> Path:
    install = [UV, "pip", "install", "--quiet", "--offline", "--no-deps", "--link-mode", "copy"]
    subprocess.run([*install, "--python", sys.executable, "--target", folder, *wheels], check=True)
    return folder


@pytest.fixture(scope="module")
def wheel(context, tmp_path_factory) -> Path:
    return build_wheel(context, tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module")
def client_wheel(context, tmp_path_factory) -> Path:
    return build_wheel(context / "client", tmp_path_factory.mktemp("client-wheels"))


@pytest.fixture(scope="module")
def site_packages(wheel, client_wheel, tmp_path_factory) -> Path:
    """A directory that contains only the installed wheels."""
    return install_wheels(tmp_path_factory.mktemp("site-packages"), wheel, client_wheel)


def test_context_contains_the_files_that_the_image_copies(context):
    for arguments in instructions("COPY"):
        *sources, _ = arguments.split()
        if not arguments.startswith("--from"):
            assert all((context / source).exists() for source in sources)


def test_wheel_contains_package_data_and_migrations(wheel):
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


def test_client_wheel_contains_only_the_client(client_wheel):
    names = set(zipfile.ZipFile(client_wheel).namelist())
    sources = {str(path.relative_to(ROOT / "client")) for path in (ROOT / "client").rglob("*.py")}
    assert sources | {"camreel/py.typed"} <= names
    assert {name.partition("/")[0] for name in names - sources} <= {
        "camreel",
        "camreel_client-0.1.0.dist-info",
    }


def test_image_contains_both_packages():
    (build,) = (step for step in instructions("RUN") if "pip wheel" in step)
    assert "pip wheel --no-deps --wheel-dir /wheels ./client . " in build
    assert "pip install --no-deps /wheels/*.whl" in build


def test_client_is_imported_without_the_service(client_wheel, tmp_path):
    script = "import sys, camreel.program; print('service' in sys.modules)"
    folder = install_wheels(tmp_path / "site-packages", client_wheel)
    # -P: the directory of the tests is no source of modules.
    output = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    assert output == b"False\n"


COUNT_RUNS = """
import json, sys
paths = []
sys.addaudithook(lambda event, data: event == "open" and paths.append(str(data[0])))
# The image does not contain the editable installs of the tests' environment.
sys.path[:] = [path for path in sys.path if path not in (sys.argv[1], sys.argv[1] + "/client")]

from service.store import runs, schema
from service.store.store import open_store

with open_store("sqlite:///camreel.db") as store:
    schema.ensure(store)
    schema.ensure(store)
    with store.read_session() as session:
        counts = runs.count_by_status(session)
print(json.dumps({"runs": sum(counts.values()), "paths": paths}))
"""


def test_installed_wheel_creates_database_without_checkout(site_packages, tmp_path):
    output = json.loads(
        subprocess.run(
            [sys.executable, "-c", COUNT_RUNS, ROOT],
            cwd=tmp_path,
            env={"PYTHONPATH": str(site_packages), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
    )
    assert output["runs"] == 0
    assert (tmp_path / "camreel.db").is_file()
    paths = [Path(path) for path in output["paths"]]
    assert site_packages / "service" / "migrations" / "env.py" in paths
    environment = Path(sys.prefix)
    checkout_paths = [
        path for path in paths if path.is_relative_to(ROOT) and not path.is_relative_to(environment)
    ]
    assert checkout_paths == []


def test_installed_wheel_has_the_command(site_packages):
    (script,) = (site_packages / "bin").glob("camreel*")
    process = subprocess.run(
        [sys.executable, script, "--help"],
        env={"PYTHONPATH": str(site_packages), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert "serve" in process.stdout
