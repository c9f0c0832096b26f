"""The committed OpenAPI schema matches the application, and the catalogs match their tables."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from service import errors, store_errors
from service.api import errors as http_errors
from service.api.problems import STATUSES
from service.app import create_app
from service.core.cams.methods import METHODS
from service.core.datasets import DATASETS
from service.core.models import MODELS
from service.core.optimizers import OPTIMIZERS
from service.core.render.colormaps import COLORMAPS
from service.core.schedules import SCHEDULES
from service.settings import Settings

COMMITTED = Path(__file__).parents[2] / "openapi" / "openapi.json"


def test_committed_schema_is_current() -> None:
    ours = create_app(Settings()).openapi()
    assert json.loads(COMMITTED.read_text()) == json.loads(json.dumps(ours)), "make openapi"


def test_bounds_are_json_schema_keywords() -> None:
    # `ge` and `le` are pydantic's keywords, which client generators ignore.
    def schemas(node: object) -> Iterator[dict[str, Any]]:
        if isinstance(node, dict):
            if "type" in node and not isinstance(node["type"], dict):
                yield node
            for value in node.values():
                yield from schemas(value)
        elif isinstance(node, list):
            for value in node:
                yield from schemas(value)

    assert not [
        schema
        for schema in schemas(json.loads(COMMITTED.read_text()))
        if {"ge", "le", "gt", "lt"} & schema.keys()
    ]


def test_paths_of_the_schema() -> None:
    paths = json.loads(COMMITTED.read_text())["paths"]
    assert set(paths) == {
        "/runs", "/runs/{run_id}", "/runs/{run_id}/cancel", "/runs/{run_id}/resume",
        "/runs/{run_id}/probes", "/runs/{run_id}/probes.png",
        "/runs/{run_id}/epochs", "/runs/{run_id}/epochs/{epoch}",
        "/runs/{run_id}/epochs/{epoch}/checkpoint", "/runs/{run_id}/epochs/{epoch}/cam",
        "/runs/{run_id}/epochs/{epoch}/cam.json", "/runs/{run_id}/epochs/{epoch}/cam.npy",
        "/runs/{run_id}/strip", "/runs/{run_id}/strip.webp", "/runs/{run_id}/strip.gif",
        "/runs/{run_id}/strip.npz", "/runs/{run_id}/sheet", "/runs/{run_id}/blanks",
        "/runs/{run_id}/atlas", "/runs/{run_id}/atlas.json", "/runs/{run_id}/atlas.bin",
        "/runs/{run_id}/scores", "/runs/{run_id}/divergence", "/runs/{run_id}/events", "/events",
        "/runs/{run_id}/epochs.csv", "/runs/{run_id}/blanks.csv", "/runs/{run_id}/report.html",
        "/images/{reference}", "/datasets", "/architectures", "/optimizers", "/schedules",
        "/methods", "/targets",
        "/measures", "/runs/{run_id}/epochs/{epoch}/evaluation", "/images",
        "/colormaps", "/healthz", "/readyz", "/metrics", "/session", "/audit", "/jobs",
        "/jobs/{job_id}", "/jobs/{job_id}/result",
        "/datasets/{name}", "/datasets/{name}/images", "/datasets/{name}/images/{reference}",
        "/runs/{run_id}/images/{reference}", "/runs/{run_id}/network",
        "/runs/{run_id}/findings", "/runs/{run_id}/exchange", "/runs/{run_id}/exchange-map",
        "/runs/{run_id}/class-means",
        "/networks", "/networks/{network_id}", "/networks/{network_id}/program",
        "/tensors/{sha256}",
        "/runs/{run_id}/probes/{position}", "/runs/{run_id}/lease", "/runs/{run_id}/heartbeat",
        "/runs/{run_id}/finish", "/runs/{run_id}/fail",
        "/experiments", "/experiments/{experiment_id}", "/experiments/{experiment_id}/cancel",
        "/experiments/{experiment_id}/resume", "/experiments/{experiment_id}/retry",
        "/experiments/{experiment_id}/seeds", "/experiments/{experiment_id}/comparison",
        "/experiments/{experiment_id}/matrix", "/experiments/{experiment_id}/matrix.json",
        "/experiments/{experiment_id}/report.md", "/experiments/{experiment_id}/runs.csv",
        "/runs/{run_id}/epochs/{epoch}/metrics", "/runs/{run_id}/steps",
        "/runs/{run_id}/insights", "/runs/{run_id}/insights.csv", "/runs/{run_id}/probe-events",
        "/runs/{run_id}/epochs/{epoch}/confusion",
    }  # fmt: skip


def test_every_operation_has_a_summary_and_every_error_a_problem() -> None:
    for path, operations in json.loads(COMMITTED.read_text())["paths"].items():
        for verb, operation in operations.items():
            assert operation["summary"], (verb, path)
            problems = operation["responses"]["4XX"]["content"]
            assert "application/problem+json" in problems, (verb, path)


def test_every_camreel_error_has_a_status() -> None:
    camreel_errors = {
        error
        for module in (errors, store_errors, http_errors)
        for error in vars(module).values()
        if isinstance(error, type) and issubclass(error, errors.CamreelError)
    }
    assert set(STATUSES) == camreel_errors - {errors.CamreelError}


@pytest.mark.parametrize(
    ("path", "table"),
    [
        ("/datasets", DATASETS),
        ("/architectures", MODELS),
        ("/optimizers", OPTIMIZERS),
        ("/schedules", SCHEDULES),
        ("/methods", METHODS),
        ("/colormaps", COLORMAPS),
    ],
)
def test_catalogs_equal_their_tables(
    http: httpx.Client, path: str, table: dict[str, object]
) -> None:
    response = http.get(path).json()
    assert [item["name"] for item in response["items"]] == list(table)
    assert all(item["description"] for item in response["items"])
    assert response["next"] is None


def test_parameters_have_bounds_defaults_and_descriptions(http: httpx.Client) -> None:
    table1, lenet5, resnet20, torchvision = http.get("/architectures").json()["items"]
    assert (lenet5["layers"], lenet5["default_layer"]) == (["c1", "s2", "c3", "s4"], "c3")
    assert (table1["layers"], table1["default_layer"]) == (["conv1", "conv2", "pool"], "conv2")
    assert (resnet20["layers"], resnet20["default_layer"]) == ([], None)
    names = torchvision["parameters"]["properties"]["name"]["enum"]
    assert "torchvision:resnet18" in names
    kernel = table1["parameters"]["properties"]["kernel_size"]
    assert (kernel["minimum"], kernel["maximum"], kernel["default"]) == (1, 13, 3)
    assert kernel["description"]


def test_documentation_page_loads_only_local_files(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.status_code == 200
    links = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
    assert len(links) >= 2
    for link in links:
        assert not urlsplit(link).netloc, link
        # Relative URLs also work under the path prefix of a proxy.
        assert not link.startswith("/"), link
        assert http.get(urljoin(str(page.url), link)).status_code == 200
    assert "https://" not in page.text
    assert http.get("/openapi.json").status_code == 200


def test_health_readiness_and_metrics(http: httpx.Client, finished_run: dict[str, object]) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ready"}
    http.get(f"/runs/{finished_run['id']}/epochs/1/cam?size=99")
    text = http.get("/metrics").text
    run_count = re.search(r'camreel_runs\{status="succeeded"\} (\S+)', text)
    assert run_count is not None
    assert float(run_count[1]) >= 1
    cam_count = re.search(
        r'camreel_response_duration_seconds_count\{kind="cam",method="proposed"\} (\S+)', text
    )
    assert cam_count is not None
    assert float(cam_count[1]) >= 1
