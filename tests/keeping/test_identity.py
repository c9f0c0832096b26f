"""An ETag stands for every byte of an answer, and no address without a hash is immutable."""

import json
import re
import shutil
import time
from pathlib import Path

import httpx
import pytest

from service.core.images import from_png, to_png
from service.core.spec import RunSpec
from tests.keeping.conftest import SPEC, StateFolder, train

SCHEMA = Path(__file__).parents[2] / "openapi" / "openapi.json"
SLOTS = {"{run_id}": "1", "{epoch}": "2", "{job_id}": "1", "{reference}": "test:3?dataset=digits"}
UNTAGGED = {"/metrics", "/session"}  # never stored

MANY = ["strip", "strip.webp", "strip.gif", "strip.npz", "sheet", "atlas", "atlas.json",
        "atlas.bin", "report.html", "report.html?language=ja", "blanks", "probes.png"]  # fmt: skip
OF_AN_EPOCH = ["cam", "cam?style=signed&scale=run", "cam.json", "cam.npy", "checkpoint",
               "evaluation"]  # fmt: skip
TABLES = ["", "/epochs", "/epochs/2", "/probes", "/scores", "/epochs.csv", "/blanks.csv"]


def paths(run: int = 1) -> list[str]:
    """Of everything that is read of a run."""
    return [
        *(f"/runs/{run}/{page}" for page in MANY),
        *(f"/runs/{run}/epochs/2/{page}" for page in OF_AN_EPOCH),
        *(f"/runs/{run}{table}" for table in TABLES),
        "/images/test:9?dataset=digits",
    ]


def get_paths() -> list[str]:
    schema = json.loads(SCHEMA.read_text())
    return [path for path, operations in schema["paths"].items() if "get" in operations]


def fill(template: str) -> str:
    for slot, value in SLOTS.items():
        template = template.replace(slot, value)
    return template


def read_all(client, addresses: list[str]) -> dict[str, httpx.Response]:
    answers = {address: client.get(address) for address in addresses}
    assert {address: a.status_code for address, a in answers.items() if a.status_code != 200} == {}
    return answers


def copy(trained: dict[str, StateFolder], folder: Path) -> StateFolder:
    shutil.copytree(trained["sql"].folder, folder)
    return StateFolder(folder, "sql")


@pytest.fixture(scope="module")
def client(trained, tmp_path_factory):
    # Copies, for a service writes jobs and maps to what other files take for a new run's state.
    with copy(trained, tmp_path_factory.mktemp("identity") / "state").client() as client:
        client.get("/runs/1/sheet", headers={"prefer": "respond-async"})
        while not client.get("/jobs/1").json()["finished_at"]:
            time.sleep(0.05)
        yield client


@pytest.mark.parametrize("template", get_paths())
def test_every_answer_to_get_is_revalidated_by_its_etag(client, template: str) -> None:
    if template.endswith("/events"):
        pytest.skip("a stream")
    answer = client.get(fill(template))
    assert answer.status_code == 200, answer.text
    assert "immutable" not in answer.headers.get("cache-control", "")
    if template in UNTAGGED:
        return
    assert answer.headers["cache-control"] == "private, no-cache"
    etag = answer.headers["etag"]
    assert not etag.startswith("W/")
    again = client.get(fill(template), headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == etag


def test_only_addresses_with_a_hash_are_immutable(client) -> None:
    page = client.get("/app")
    if page.status_code == 404:
        pytest.skip("the page is not built")
    links = [part.split('"')[0] for part in page.text.split('src="')[1:]]
    assert links
    for link in links:
        immutable = "immutable" in client.get(link).headers.get("cache-control", "")
        assert immutable == bool(re.search(r"/app/assets/\w+-[\w-]{8}\.\w+$", link)), link


def test_another_database_at_the_same_address_answers_with_its_own_bytes(trained, tmp_path) -> None:
    state_folder = StateFolder(tmp_path / "other", "sql")
    state_folder.folder.mkdir()
    train(state_folder, spec_with(seed=1))
    with copy(trained, tmp_path / "first").client() as client:
        first = read_all(client, paths())
    with state_folder.client() as client:
        for address, answer in read_all(client, paths()).items():
            etag = first[address].headers["etag"]
            again = client.get(address, headers={"If-None-Match": etag})
            if answer.content == first[address].content:
                continue  # equal bytes may have equal tags
            assert again.status_code == 200, address
            assert again.content == answer.content, address


def test_other_pixels_under_the_same_reference_have_other_etags(trained, tmp_path) -> None:
    state_folder = copy(trained, tmp_path / "state")
    with state_folder.client() as client:
        first = read_all(client, paths())
    for row, png in state_folder.execute("SELECT id, png FROM images"):
        state_folder.execute("UPDATE images SET png = :png WHERE id = :row",
                      png=to_png(255 - from_png(png)), row=row)  # fmt: skip
    with state_folder.client() as client:
        for address, answer in read_all(client, paths()).items():
            if answer.content != first[address].content:
                assert answer.headers["etag"] != first[address].headers["etag"], address
        etag = first["/runs/1/epochs/2/cam.npy"].headers["etag"]
        again = client.get("/runs/1/epochs/2/cam.npy", headers={"If-None-Match": etag})
        assert again.status_code == 200


def test_a_run_with_the_checkpoints_of_a_deleted_one_is_shown_as_itself(trained, tmp_path) -> None:
    state_folder = copy(trained, tmp_path / "state")
    with state_folder.client() as client:
        first = read_all(client, paths(1))
        assert train(state_folder) == 2
        second = read_all(client, paths(2))  # with all pictures of run 1 in memory
        assert client.delete("/runs/1").status_code in (202, 204)
        for before, after in zip(first, second, strict=True):
            etag = first[before].headers["etag"]
            again = client.get(after, headers={"If-None-Match": etag})
            assert again.content in (second[after].content, b""), after
            if first[before].content != second[after].content:
                assert again.status_code == 200, after
    sheet, strip = "/runs/{}/sheet", "/runs/{}/strip"
    for page in (sheet, strip):  # whose titles have the run's number
        assert first[page.format(1)].content != second[page.format(2)].content
    assert checkpoint(first, 1) == checkpoint(second, 2)
    with state_folder.client() as client:
        for address, answer in read_all(client, paths(2)).items():
            assert answer.headers["etag"] == second[address].headers["etag"], address
            assert answer.content == second[address].content, address


def spec_with(**fields: object) -> RunSpec:
    return RunSpec.model_validate(SPEC.model_dump() | fields)


def checkpoint(answers: dict[str, httpx.Response], run: int) -> bytes:
    return answers[f"/runs/{run}/epochs/2/checkpoint"].content


def test_a_scale_that_is_named_in_the_legend_is_part_of_the_etag(tmp_path) -> None:
    state_folder = StateFolder(tmp_path, "sql")
    train(state_folder, spec_with(probes={"per_class": 0, "images": ["test:1"]}))
    with state_folder.client() as client:  # of one probe, both scales are of the same maps
        strip, run = (client.get(f"/runs/1/sheet?scale={scale}") for scale in ("strip", "run"))
    assert strip.content != run.content
    assert strip.headers["etag"] != run.headers["etag"]
