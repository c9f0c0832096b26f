"""ETags depend on every byte of a response; only URLs with a hash are immutable."""

import json
import re
import shutil
import time
from pathlib import Path

import httpx
import pytest

from service.core.images import from_png, to_png
from service.core.spec import RunSpec
from tests.faults.tiny import DIVERGING, TINY
from tests.keeping.conftest import SPEC, StateFolder, train

SCHEMA = Path(__file__).parents[2] / "openapi" / "openapi.json"
PATH_PARAMETERS = {
    "{run_id}": "1",
    "{experiment_id}": "1",
    "{epoch}": "2",
    "{job_id}": "1",
    "{name}": "digits",
    "{reference}": "test:3?dataset=digits",
}
OF_RECORDERS = ("/networks", "/tensors")  # tests/recorded has some
OF_OBJECTS = "/runs/{run_id}/exchange-map"  # the embedded digits fill their images
UNTAGGED = {"/metrics", "/session"}  # never stored

RUN_PAGES = ["strip", "strip.webp", "strip.gif", "strip.npz", "sheet", "atlas", "atlas.json",
        "atlas.bin", "report.html", "report.html?language=ja", "blanks", "probes.png"]  # fmt: skip
EPOCH_PAGES = ["cam", "cam?style=signed&scale=run", "cam.json", "cam.npy", "checkpoint",
               "evaluation"]  # fmt: skip
TABLES = ["", "/epochs", "/epochs/2", "/probes", "/scores", "/epochs.csv", "/blanks.csv"]


def paths(run: int = 1) -> list[str]:
    """URLs of all representations of a run."""
    return [
        *(f"/runs/{run}/{page}" for page in RUN_PAGES),
        *(f"/runs/{run}/epochs/2/{page}" for page in EPOCH_PAGES),
        *(f"/runs/{run}{table}" for table in TABLES),
        "/images/test:9?dataset=digits",
    ]


def get_paths() -> list[str]:
    schema = json.loads(SCHEMA.read_text())
    return [
        path
        for path, operations in schema["paths"].items()
        if "get" in operations and not path.startswith(OF_RECORDERS) and path != OF_OBJECTS
    ]


def fill(template: str) -> str:
    for parameter, value in PATH_PARAMETERS.items():
        template = template.replace(parameter, value)
    return template


def read_all(client, urls: list[str]) -> dict[str, httpx.Response]:
    responses = {url: client.get(url) for url in urls}
    assert {url: a.status_code for url, a in responses.items() if a.status_code != 200} == {}
    return responses


def copy(trained: dict[str, StateFolder], folder: Path) -> StateFolder:
    shutil.copytree(trained["sql"].folder, folder)
    return StateFolder(folder, "sql")


@pytest.fixture(scope="module")
def client(trained, tmp_path_factory):
    # A copy, because the service adds jobs and maps, and other tests copy the original.
    with copy(trained, tmp_path_factory.mktemp("identity") / "state").client() as client:
        client.get("/runs/1/sheet", headers={"prefer": "respond-async"})
        while not client.get("/jobs/1").json()["finished_at"]:
            time.sleep(0.05)
        assert client.post("/runs", json=DIVERGING).status_code == 201
        plan = {"base": TINY, "fields": {"architecture.dropout": {"values": [0.0, 0.5]}}}
        assert client.post("/experiments", json=plan).status_code == 201
        yield client


def diverged_id(client) -> str:
    (run,) = client.get("/runs?status=failed").json()["items"]
    return str(run["id"])


@pytest.mark.parametrize("template", get_paths())
def test_every_get_response_is_revalidated_by_its_etag(client, template: str) -> None:
    if template.endswith("/events"):
        pytest.skip("a stream")
    url = fill(template)
    if template == "/runs/{run_id}/divergence":
        url = url.replace("1", diverged_id(client))
    response = client.get(url)
    assert response.status_code == 200, response.text
    assert "immutable" not in response.headers.get("cache-control", "")
    if template in UNTAGGED:
        return
    assert response.headers["cache-control"] == "private, no-cache"
    etag = response.headers["etag"]
    assert not etag.startswith("W/")
    revalidated = client.get(url, headers={"If-None-Match": etag})
    assert (revalidated.status_code, revalidated.content) == (304, b"")
    assert revalidated.headers["etag"] == etag


def test_only_urls_with_a_hash_are_immutable(client) -> None:
    page = client.get("/app")
    if page.status_code == 404:
        pytest.skip("the page is not built")
    links = [part.split('"')[0] for part in page.text.split('src="')[1:]]
    assert links
    for link in links:
        immutable = "immutable" in client.get(link).headers.get("cache-control", "")
        assert immutable == bool(re.search(r"/app/assets/\w+-[\w-]{8}\.\w+$", link)), link


def test_another_database_at_the_same_url_does_not_match_old_etags(trained, tmp_path) -> None:
    state_folder = StateFolder(tmp_path / "other", "sql")
    state_folder.folder.mkdir()
    train(state_folder, spec_with(seed=1))
    with copy(trained, tmp_path / "first").client() as client:
        first = read_all(client, paths())
    with state_folder.client() as client:
        for url, response in read_all(client, paths()).items():
            etag = first[url].headers["etag"]
            revalidated = client.get(url, headers={"If-None-Match": etag})
            if response.content == first[url].content:
                continue  # equal bytes may have equal ETags
            assert revalidated.status_code == 200, url
            assert revalidated.content == response.content, url


def test_changed_pixels_of_an_image_change_the_etags(trained, tmp_path) -> None:
    state_folder = copy(trained, tmp_path / "state")
    with state_folder.client() as client:
        first = read_all(client, paths())
    for row, png in state_folder.execute("SELECT id, png FROM images"):
        state_folder.execute("UPDATE images SET png = :png WHERE id = :row",
                      png=to_png(255 - from_png(png)), row=row)  # fmt: skip
    with state_folder.client() as client:
        for url, response in read_all(client, paths()).items():
            if response.content != first[url].content:
                assert response.headers["etag"] != first[url].headers["etag"], url
        etag = first["/runs/1/epochs/2/cam.npy"].headers["etag"]
        revalidated = client.get("/runs/1/epochs/2/cam.npy", headers={"If-None-Match": etag})
        assert revalidated.status_code == 200


def test_run_with_equal_checkpoints_does_not_get_pictures_of_a_deleted_one(
    trained, tmp_path
) -> None:
    state_folder = copy(trained, tmp_path / "state")
    with state_folder.client() as client:
        first = read_all(client, paths(1))
        assert train(state_folder) == 2
        second = read_all(client, paths(2))  # while all pictures of run 1 are cached
        assert client.delete("/runs/1").status_code in (202, 204)
        for first_url, second_url in zip(first, second, strict=True):
            etag = first[first_url].headers["etag"]
            revalidated = client.get(second_url, headers={"If-None-Match": etag})
            assert revalidated.content in (second[second_url].content, b""), second_url
            if first[first_url].content != second[second_url].content:
                assert revalidated.status_code == 200, second_url
    sheet, strip = "/runs/{}/sheet", "/runs/{}/strip"
    for page in (sheet, strip):  # whose titles contain the run's id
        assert first[page.format(1)].content != second[page.format(2)].content
    assert checkpoint(first, 1) == checkpoint(second, 2)
    with state_folder.client() as client:
        for url, response in read_all(client, paths(2)).items():
            assert response.headers["etag"] == second[url].headers["etag"], url
            assert response.content == second[url].content, url


def spec_with(**fields: object) -> RunSpec:
    return RunSpec.model_validate(SPEC.model_dump() | fields)


def checkpoint(responses: dict[str, httpx.Response], run: int) -> bytes:
    return responses[f"/runs/{run}/epochs/2/checkpoint"].content


def test_etag_depends_on_the_scale_named_in_the_legend(tmp_path) -> None:
    state_folder = StateFolder(tmp_path, "sql")
    train(state_folder, spec_with(probes={"per_class": 0, "images": ["test:1"]}))
    with state_folder.client() as client:  # with one probe, both scales use the same maps
        strip, run = (client.get(f"/runs/1/sheet?scale={scale}") for scale in ("strip", "run"))
    assert strip.content != run.content
    assert strip.headers["etag"] != run.headers["etag"]
