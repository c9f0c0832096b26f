"""Invalid input is always 4xx problem+json that names the field and its bounds, never 500."""

from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def expect_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert {"type", "title", "status"} <= body.keys()
    assert body["status"] == status
    for secret in ("Traceback", "site-packages", ".py", "/tmp", "sqlite"):
        assert secret not in response.text
    return body


def post(http: httpx.Client, body: bytes, kind: str = "application/json") -> httpx.Response:
    return http.post("/runs", content=body, headers={"content-type": kind})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"epochs": NaN}',
        b'{"epochs": Infinity}',
        b'{"name": "\xff"}',
        b'{"name": "\\ud800"}',
        b"[" * 100_000,
        b'{"epochs":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"epochs": ' + b"9" * 5_000 + b"}",
        b'{"epochs": 5,}',
        b"\xef\xbb\xbf{}",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_invalid_json_is_refused(http: httpx.Client, body: bytes) -> None:
    response = post(http, body)
    assert response.status_code in (400, 422)
    expect_problem(response, response.status_code)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"optimizer": {"learning_rate": 1e999}}', "optimizer.learning_rate"),
        (b'{"epochs": true}', "epochs"),
        (b'{"epochs": "5"}', "epochs"),
        (b'{"epochs": 5.5}', "epochs"),
        (b'{"epochs": null}', "epochs"),
        (b'{"epochs": 1e3}', "epochs"),
        (b'{"architecture": {"dropout": "0.5"}}', "architecture.dropout"),
        (b'{"unknown": 1}', "unknown"),
        (b'{"architecture": {"depth": 1}}', "architecture.depth"),
        (b'{"optimizer": {"momentum": 0.9}}', "optimizer.momentum"),
        (b'{"name": "a\\u0000b"}', "name"),
        (b'{"name": "a\\nb"}', "name"),
        (b'{"tags": ["no spaces"]}', "tags.0"),
        (b'{"tags": "word"}', "tags"),
        (b"[]", ""),
        (b'"text"', ""),
        (b"null", ""),
    ],
    ids=lambda value: repr(value),
)
def test_values_of_the_wrong_kind_are_refused_by_name(
    http: httpx.Client, body: bytes, field: str
) -> None:
    assert field in [error["field"] for error in expect_problem(post(http, body), 422)["errors"]]


@pytest.mark.parametrize(
    ("spec", "field", "bound"),
    [
        ({"optimizer": {"learning_rate": 0}}, "optimizer.learning_rate", "100"),
        ({"optimizer": {"learning_rate": -1}}, "optimizer.learning_rate", "100"),
        ({"optimizer": {"learning_rate": 1e30}}, "optimizer.learning_rate", "100"),
        ({"optimizer": {"name": "adam", "learning_rate": 1e30}}, "optimizer.learning_rate", "100"),
        ({"optimizer": {"name": "sgd", "momentum": 1.0}}, "optimizer.momentum", "1"),
        ({"epochs": -1}, "epochs", "10000"),
        ({"architecture": {"name": "torchvision:resnet19"}}, "architecture.name", "resnet18"),
        ({"architecture": {"name": "torchvision:vgg11"}}, "architecture.name", "32 x 32"),
        ({"schedule": {"warmup_epochs": -1}}, "schedule.warmup_epochs", "10000"),
        ({"schedule": {"name": "linear"}}, "schedule.name", "cosine"),
        ({"label_smoothing": 1.0}, "label_smoothing", "1"),
        ({"augmentation": {"shift_fraction": 0.6}}, "augmentation.shift_fraction", "0.5"),
        ({"keep_states": "every:0"}, "keep_states", "every"),
        ({"epochs": 10**9}, "epochs", "10000"),
        ({"epochs": 10**30}, "epochs", "10000"),
        ({"batch_size": 0}, "batch_size", "10000"),
        ({"batch_size": 10**9}, "batch_size", "10000"),
        ({"samples_per_epoch": 0}, "samples_per_epoch", "from 1 to"),
        ({"samples_per_epoch": 60_001}, "samples_per_epoch", "60000"),
        ({"dataset": "digits", "samples_per_epoch": 1501}, "samples_per_epoch", "1500"),
        ({"seed": -1}, "seed", str(2**32 - 1)),
        ({"seed": 2**63}, "seed", str(2**32 - 1)),
        ({"architecture": {"dropout": 1.0}}, "architecture.dropout", "1"),
        ({"architecture": {"dropout": -0.1}}, "architecture.dropout", "0"),
        ({"architecture": {"kernel_size": 4}}, "architecture.kernel_size", "13"),
        ({"architecture": {"kernel_size": 29}}, "architecture.kernel_size", "13"),
        ({"architecture": {"channels": [32]}}, "architecture.channels", "2"),
        ({"architecture": {"channels": [32, 0]}}, "architecture.channels.1", "512"),
        ({"architecture": {"hidden_units": 0}}, "architecture.hidden_units", "4096"),
        ({"architecture": {"hidden_activation": "x"}}, "architecture.hidden_activation", "tanh"),
        ({"architecture": {"name": "vgg"}}, "architecture.name", "table1"),
        ({"dataset": "cats"}, "dataset", "digits"),
        ({"optimizer": {"name": "lion"}}, "optimizer.name", "adamw"),
        ({"precision": "float64"}, "precision", "bfloat16"),
        ({"probes": {"per_class": 101}}, "probes.per_class", "100"),
        ({"probes": {"per_class": 0}}, "probes.per_class", "1000"),
        ({"probes": {"images": ["test:10000"]}}, "probes.images.0", "9999"),
        ({"probes": {"images": ["photo"]}}, "probes.images.0", "test:<index>"),
        ({"name": "x" * 201}, "name", "200"),
        ({"tags": ["x"] * 21}, "tags", "20"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_values_out_of_bounds_are_refused_with_field_and_bounds(
    http: httpx.Client, spec: dict[str, Any], field: str, bound: str
) -> None:
    body = expect_problem(http.post("/runs", json=spec), 422)
    (error,) = body["errors"]
    assert error["field"] == field
    assert bound in error["message"]
    assert field in body["detail"]


def test_body_of_another_media_type_is_415(http: httpx.Client) -> None:
    expect_problem(post(http, b"epochs=5", "application/x-www-form-urlencoded"), 415)
    expect_problem(post(http, b"\x80\x04}q\x00.", "application/octet-stream"), 415)


def test_too_large_body_is_413(http: httpx.Client) -> None:
    assert post(http, b'{"name": "' + b"x" * 2**21 + b'"}').status_code == 413


@pytest.mark.parametrize(
    "run_id",
    ["0", "-1", "1_0", "1.0", "1e3", str(2**63), str(2**64), "9" * 5000, "%D9%A1", "+1", " 1",
     "..%2f", "%252e", "' OR 1=1--", "null", "%00", "0x1"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["", "/epochs", "/epochs/0/cam", "/sheet", "/blanks"])
def test_invalid_identifiers_are_refused(http: httpx.Client, run_id: str, path: str) -> None:
    response = http.get(f"/runs/{run_id}{path}")
    assert response.status_code in (404, 422), response.text
    expect_problem(response, response.status_code)


def test_unknown_identifiers_are_404(http: httpx.Client, finished_run: dict[str, Any]) -> None:
    run = f"/runs/{finished_run['id']}"
    assert expect_problem(http.get("/runs/999999999"), 404)["type"] == "run-not-found"
    for path in ("/epochs/4", "/epochs/4/cam", "/epochs/999999999/cam", "/epochs/4/checkpoint"):
        body = expect_problem(http.get(run + path), 404)
        assert body["type"] == "epoch-not-found"
        assert "0 to 3" in body["detail"]
    assert expect_problem(http.get(f"{run}/epochs/1/cam?image=test:99999"), 404)
    assert expect_problem(http.get(f"{run}/epochs/1/cam?image=upload:none"), 404)
    assert expect_problem(http.get(f"{run}/strip?epochs=7"), 404)
    assert expect_problem(http.get(f"{run}/sheet?epochs=50:60"), 404)
    assert expect_problem(http.get("/images/test:10000"), 404)


@pytest.mark.parametrize(
    ("query", "field", "names"),
    [
        ("method=gradcam", "method", ["conventional", "proposed"]),
        ("class=10", "class", ["0", "9"]),
        ("class=zero", "class", ["0", "9"]),
        ("class=-1", "class", ["0", "9"]),
        ("class=1_0", "class", ["0", "9"]),
        ("layer=hidden", "layer", ["conv1", "conv2", "pool"]),
        ("colormap=rainbow", "colormap", ["viridis", "jet", "RdBu_r"]),
        ("style=3d", "style", ["overlay", "signed"]),
        ("scale=world", "scale", ["map", "strip", "run"]),
        ("opacity=1.1", "opacity", ["0", "1"]),
        ("opacity=nan", "opacity", ["0", "1"]),
        ("size=15", "size", ["16", "1024"]),
        ("size=1025", "size", ["16", "1024"]),
        ("size=big", "size", ["16", "1024"]),
        ("image=cat.png", "image", ["test:7"]),
        ("image=test:-1", "image", ["test:7"]),
        ("image=../../etc/passwd", "image", ["test:7"]),
        ("metod=proposed", "metod", []),
    ],
)
def test_unknown_names_are_refused_with_the_valid_ones(
    http: httpx.Client, finished_run: dict[str, Any], query: str, field: str, names: list[str]
) -> None:
    body = expect_problem(http.get(f"/runs/{finished_run['id']}/epochs/1/cam?{query}"), 422)
    (error,) = body["errors"]
    assert error["field"] == field
    for name in names:
        assert name in error["message"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/runs?limit=0", "limit"),
        ("/runs?limit=1000000000", "limit"),
        ("/runs?cursor=%00", "cursor"),
        ("/runs?cursor=YWZ0ZXI6LTE=", "cursor"),
        ("/runs?status=done", "status"),
        ("/runs?tag=%00", "tag"),
        ("/images/test:7?dataset=cats", "dataset"),
        ("/images/..%2f..%2fetc%2fpasswd", "image"),
    ],
)
def test_parameters_of_collections_are_bounded(http: httpx.Client, path: str, field: str) -> None:
    response = http.get(path)
    if response.status_code == 404 and "%2f" in path:
        return  # the server decoded the path, and it names no resource
    assert [error["field"] for error in expect_problem(response, 422)["errors"]] == [field]


@pytest.mark.parametrize(
    "query",
    ["epochs=x", "epochs=1:2:0", "epochs=1:2:3:4", "epochs=-1", "epochs=1,,2", "epochs=1e3",
     "epochs=" + "1," * 600, "size=8", "size=100000", "epochs=1_0", "epochs=%00"],
)  # fmt: skip
def test_pages_of_many_maps_are_bounded(
    http: httpx.Client, finished_run: dict[str, Any], query: str
) -> None:
    for page in ("strip", "strip.webp", "strip.gif", "sheet"):
        expect_problem(http.get(f"/runs/{finished_run['id']}/{page}?{query}"), 422)


@pytest.mark.parametrize("epsilon", ["-1", "2", "nan", "inf", "x", "1e999"])
def test_threshold_out_of_bounds_is_refused(
    http: httpx.Client, finished_run: dict[str, Any], epsilon: str
) -> None:
    body = expect_problem(http.get(f"/runs/{finished_run['id']}/blanks?epsilon={epsilon}"), 422)
    assert [error["field"] for error in body["errors"]] == ["epsilon"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=8), inside),
    max_leaves=8,
)
FIELDS = [
    "name", "tags", "dataset", "architecture", "optimizer", "epochs", "samples_per_epoch",
    "schedule", "batch_size", "label_smoothing", "augmentation", "seed", "precision", "device",
    "keep_states", "probes",
]  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spec=st.dictionaries(st.sampled_from(FIELDS), JSON, min_size=1))
def test_arbitrary_json_is_never_a_server_error(http: httpx.Client, spec: dict[str, Any]) -> None:
    # With an additional unknown field, so that no run is created.
    response = http.post("/runs", json=_finite(spec) | {"not a field": 1})
    expect_problem(response, 422)


def _finite(value: Any) -> Any:
    """Replaces NaN and infinity, which httpx cannot encode; they are tested above as bytes."""
    if isinstance(value, float):
        return value if value == value and abs(value) < 1e308 else 0.5
    if isinstance(value, dict):
        return {key.encode("utf-8", "ignore").decode(): _finite(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return value.encode("utf-8", "ignore").decode() if isinstance(value, str) else value
