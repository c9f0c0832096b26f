"""The contract: the committed schema is the application's, and the catalogue is its tables."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from service import errors
from service.api import errors as http_errors
from service.api.problems import STATUSES
from service.app import create_app
from service.core.cams.methods import METHODS
from service.core.datasets import DATASETS
from service.core.models import MODELS
from service.core.optimizers import OPTIMIZERS
from service.core.render.colormaps import COLORMAPS
from service.settings import Settings

COMMITTED = Path(__file__).parents[2] / "openapi" / "openapi.json"


def test_the_committed_schema_is_the_applications() -> None:
    ours = create_app(Settings()).openapi()
    assert json.loads(COMMITTED.read_text()) == json.loads(json.dumps(ours)), "make openapi"


def test_bounds_are_keywords_of_json_schema() -> None:
    # `ge` and `le` are pydantic's names: a client generator would ignore them.
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


def test_the_paths_are_those_of_the_contract() -> None:
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
        "/runs/{run_id}/scores", "/runs/{run_id}/events", "/events",
        "/runs/{run_id}/epochs.csv", "/runs/{run_id}/blanks.csv", "/runs/{run_id}/report.html",
        "/images/{reference}", "/datasets", "/architectures", "/optimizers", "/methods", "/targets",
        "/measures", "/runs/{run_id}/epochs/{epoch}/evaluation", "/images",
        "/colormaps", "/healthz", "/readyz", "/metrics", "/session", "/audit", "/jobs",
        "/jobs/{job_id}", "/jobs/{job_id}/result",
    }  # fmt: skip


def test_every_operation_has_a_summary_and_every_error_a_problem() -> None:
    for path, operations in json.loads(COMMITTED.read_text())["paths"].items():
        for verb, operation in operations.items():
            assert operation["summary"], (verb, path)
            problems = operation["responses"]["4XX"]["content"]
            assert "application/problem+json" in problems, (verb, path)


def test_every_error_of_ours_has_a_status() -> None:
    ours = {
        item_type
        for item_type in (*vars(errors).values(), *vars(http_errors).values())
        if isinstance(item_type, type) and issubclass(item_type, errors.CamreelError)
    }
    assert set(STATUSES) == ours - {errors.CamreelError}


@pytest.mark.parametrize(
    ("path", "table"),
    [
        ("/datasets", DATASETS),
        ("/architectures", MODELS),
        ("/optimizers", OPTIMIZERS),
        ("/methods", METHODS),
        ("/colormaps", COLORMAPS),
    ],
)
def test_the_catalogue_is_the_tables(
    http: httpx.Client, path: str, table: dict[str, object]
) -> None:
    answer = http.get(path).json()
    assert [item["name"] for item in answer["items"]] == list(table)
    assert all(item["description"] for item in answer["items"])
    assert answer["next"] is None


def test_parameters_are_told_with_bounds_defaults_and_a_sentence(http: httpx.Client) -> None:
    (table1,) = http.get("/architectures").json()["items"]
    assert (table1["layers"], table1["default_layer"]) == (["conv1", "conv2", "pool"], "conv2")
    kernel = table1["parameters"]["properties"]["kernel_size"]
    assert (kernel["minimum"], kernel["maximum"], kernel["default"]) == (1, 13, 3)
    assert kernel["description"]


def test_the_documentation_page_needs_nothing_from_elsewhere(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.status_code == 200
    links = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
    assert len(links) >= 2
    for link in links:
        assert not urlsplit(link).netloc, link
        # Relative to the page: below a proxy's path it is found as well.
        assert not link.startswith("/"), link
        assert http.get(urljoin(str(page.url), link)).status_code == 200
    assert "https://" not in page.text
    assert http.get("/openapi.json").status_code == 200


def test_health_readiness_and_metrics(http: httpx.Client, finished_run: dict[str, object]) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ready"}
    http.get(f"/runs/{finished_run['id']}/epochs/1/cam?size=99")
    text = http.get("/metrics").text
    done = re.search(r'camreel_runs\{status="succeeded"\} (\S+)', text)
    assert done is not None
    assert float(done[1]) >= 1
    drawn = re.search(
        r'camreel_response_duration_seconds_count\{kind="cam",method="proposed"\} (\S+)', text
    )
    assert drawn is not None
    assert float(drawn[1]) >= 1
