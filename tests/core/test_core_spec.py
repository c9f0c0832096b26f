"""What a run can be asked to do: the contract's defaults, and strict bounds."""

import copy
import json
import math

import pytest
from pydantic import ValidationError

from service.core.datasets import DATASETS
from service.core.models import MODELS
from service.core.optimizers import OPTIMIZERS
from service.core.spec import RunSpec

DEFAULTS = {
    "name": "",
    "tags": [],
    "dataset": "mnist",
    "architecture": {
        "name": "table1",
        "kernel_size": 3,
        "channels": [32, 64],
        "hidden_units": 128,
        "dropout": 0.5,
        "hidden_activation": "sigmoid",
        "output_activation": "identity",
    },
    "optimizer": {"name": "adadelta", "learning_rate": 1.0},
    "epochs": 100,
    "samples_per_epoch": 10000,
    "batch_size": 100,
    "seed": 0,
    "precision": "float32",
    "device": "auto",
    "probes": {"per_class": 1, "images": []},
}


def body(path: str, value: object) -> dict:
    """A body with one field set: `optimizer.learning_rate` is a field of a field."""
    *outer, last = path.split(".")
    fields: dict = {last: value}
    for name in reversed(outer):
        fields = {name: fields}
    return fields


def read(spec: RunSpec, path: str) -> object:
    value: object = spec
    for name in path.split("."):
        value = getattr(value, name)
    return value


def refusals(fields: dict) -> dict[str, str]:
    """What is wrong with a body: field -> words. Fails the test if nothing is."""
    with pytest.raises(ValidationError) as refusal:
        RunSpec.model_validate(fields)
    return {
        ".".join(str(part) for part in error["loc"]): error["msg"]
        for error in refusal.value.errors()
        # Beside any other error, as the default number of samples depends on the dataset.
        if error["type"] != "default_factory_not_called"
    }


def test_an_empty_body_is_the_contracts_defaults():
    spec = RunSpec.model_validate({}).model_dump(mode="json")
    # Adadelta's decay is its own: the contract names the learning rate, which all share.
    assert spec["optimizer"].pop("rho") == 0.9
    assert spec == DEFAULTS
    assert list(spec) == list(DEFAULTS)


def test_a_spec_is_its_own_body():
    spec = RunSpec.model_validate({"dataset": "digits", "optimizer": {"name": "adam"}})
    dumped = json.loads(json.dumps(spec.model_dump(mode="json")))
    assert RunSpec.model_validate(dumped) == spec


def test_digits_are_drawn_all_where_nothing_else_is_asked_for():
    assert RunSpec.model_validate({"dataset": "digits"}).samples_per_epoch == 1500


def test_an_output_sigmoid_is_the_papers_wording():
    spec = RunSpec.model_validate({"architecture": {"output_activation": "sigmoid"}})
    assert spec.architecture.build((1, 28, 28), 10).output_activation == "sigmoid"


BOUNDS = [
    # path, lowest, highest, below, above
    ("epochs", 1, 10_000, 0, 10_001),
    ("samples_per_epoch", 1, 60_000, 0, 60_001),
    ("batch_size", 1, 10_000, 0, 10_001),
    ("seed", 0, 2**32 - 1, -1, 2**32),
    ("architecture.kernel_size", 1, 13, -1, 15),
    ("architecture.hidden_units", 1, 4096, 0, 4097),
    ("architecture.dropout", 0, math.nextafter(1, 0), -1e-9, 1.0),
    ("architecture.channels", [1, 1], [512, 512], [0, 1], [1, 513]),
    ("optimizer.learning_rate", 5e-324, 100.0, 0.0, 100.1),
    ("optimizer.rho", 0, math.nextafter(1, 0), -1e-9, 1.0),
    ("probes.per_class", 0, 100, -1, 101),
]


@pytest.mark.parametrize(("path", "lowest", "highest", "below", "above"), BOUNDS)
def test_numbers_are_taken_within_their_bounds_and_refused_beyond(
    path, lowest, highest, below, above
):
    listed = {"images": ["test:0"]} if path == "probes.per_class" else {}
    for value in (lowest, highest):
        fields = body(path, value)
        fields.get("probes", {}).update(listed)
        if listed and value == 100:
            fields["probes"]["images"] = []  # 1,000 probes are the most
        assert read(RunSpec.model_validate(fields), path) == value
    for value in (below, above):
        (where,) = refusals(body(path, value))
        name = path.rpartition(".")[2]
        assert name in where.split(".")


@pytest.mark.parametrize(
    ("fields", "name", "bound"),
    [
        ({"optimizer": {"name": "sgd", "momentum": 1.0}}, "momentum", "less than 1"),
        ({"optimizer": {"name": "sgd", "momentum": -0.1}}, "momentum", "equal to 0"),
        ({"optimizer": {"name": "adamw", "weight_decay": 11}}, "weight_decay", "equal to 10"),
        ({"optimizer": {"name": "adamw", "weight_decay": -1}}, "weight_decay", "equal to 0"),
        ({"optimizer": {"name": "adam", "learning_rate": 0}}, "learning_rate", "greater than 0"),
        ({"optimizer": {"learning_rate": 1e30}}, "learning_rate", "equal to 100"),
        ({"epochs": 10**9}, "epochs", "equal to 10000"),
        ({"epochs": 0}, "epochs", "equal to 1"),
        ({"batch_size": 0}, "batch_size", "equal to 1"),
        ({"architecture": {"dropout": 1.0}}, "dropout", "less than 1"),
        ({"architecture": {"kernel_size": 4}}, "kernel_size", "odd: 1, 3, 5"),
        ({"architecture": {"kernel_size": 29}}, "kernel_size", "equal to 13"),
        ({"samples_per_epoch": 60_001}, "samples_per_epoch", "60000"),
        ({"dataset": "digits", "samples_per_epoch": 1501}, "samples_per_epoch", "1 to 1500"),
    ],
    ids=str,
)
def test_a_refusal_names_the_field_and_its_bound(fields, name, bound):
    ((where, words),) = refusals(fields).items()
    assert name in where.split(".")
    assert bound in words


@pytest.mark.parametrize("path", [path for path, *_ in BOUNDS if path != "architecture.channels"])
@pytest.mark.parametrize("value", [True, False, "5", None, [], {}, math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused_for_one(path, value):
    assert refusals(body(path, value))


@pytest.mark.parametrize(
    "path", ["epochs", "samples_per_epoch", "batch_size", "seed", "architecture.kernel_size"]
)
@pytest.mark.parametrize("value", [5.0, 5.5, 10**400])
def test_counts_are_whole_numbers(path, value):
    assert refusals(body(path, value))


@pytest.mark.parametrize(
    "fields",
    [
        {"epoch": 3},
        {"Epochs": 3},
        {"": 3},
        {"architecture": {"layers": 3}},
        {"optimizer": {"momentum": 0.5}},
        {"optimizer": {"name": "adam", "rho": 0.9}},
        {"probes": {"image": []}},
    ],
    ids=str,
)
def test_unknown_fields_are_refused(fields):
    ((_, words),) = refusals(fields).items()
    assert "not permitted" in words


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("dataset", list(DATASETS)),
        ("architecture.name", list(MODELS)),
        ("architecture.hidden_activation", ["sigmoid", "relu", "tanh"]),
        ("architecture.output_activation", ["identity", "sigmoid"]),
        ("optimizer.name", list(OPTIMIZERS)),
        ("precision", ["float32", "bfloat16"]),
        ("device", ["auto", "cpu", "cuda"]),
    ],
)
def test_names_are_those_of_their_table_and_a_refusal_lists_them(path, names):
    for name in names:
        assert read(RunSpec.model_validate(body(path, name)), path) == name
    for unknown in ("imagenet", names[0].upper(), "", names[0] + " "):
        words = " ".join(refusals(body(path, unknown)).values())
        assert all(name in words for name in names)
    for no_text in (3, True, ["mnist"], {"name": "mnist"}):
        assert refusals(body(path, no_text))


@pytest.mark.parametrize("value", ["adam", 3, True, None, ["adam"], [], "", [{"name": "adam"}]])
@pytest.mark.parametrize("name", ["optimizer", "architecture", "probes"])
def test_what_is_no_object_is_refused_for_one(name, value):
    assert refusals({name: value})


def test_a_body_that_changes_only_the_rate_keeps_the_default_optimizer():
    optimizer = RunSpec.model_validate({"optimizer": {"learning_rate": 0.5}}).optimizer
    assert (optimizer.name, optimizer.learning_rate) == ("adadelta", 0.5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_has_a_learning_rate_and_builds(name):
    optimizer = RunSpec.model_validate(body("optimizer.name", name)).optimizer
    network = RunSpec.model_validate({}).architecture.build((1, 28, 28), 10)
    built = optimizer.build(network.parameters())
    assert type(built).__name__.lower() == name
    assert built.param_groups[0]["lr"] == optimizer.learning_rate


@pytest.mark.parametrize("channels", [[], [32], [32, 64, 128], "32", [32.0, 64], [True, 2], 32])
def test_channels_are_two_counts(channels):
    assert refusals({"architecture": {"channels": channels}})


@pytest.mark.parametrize("name", ["", "Lernrate 0,1 — β", "x" * 200, "'; DROP TABLE runs; --"])
def test_a_name_is_any_line_of_text(name):
    assert RunSpec.model_validate({"name": name}).name == name


@pytest.mark.parametrize(
    "name", ["x" * 201, "a\0b", "a\nb", "a\tb", "\x7f", "\x1b[31m", "\ud800", 7, None, "end\n"]
)
def test_a_name_has_no_control_characters_and_an_end(name):
    assert list(refusals({"name": name})) == ["name"]


@pytest.mark.parametrize(
    "tag", ["", "-a", ".a", "a b", "a/b", "é", "x" * 51, "a\n", "a,b", "a\0", 3, None, "<b>"]
)
def test_a_tag_is_one_plain_word(tag):
    assert refusals({"tags": [tag]})


def test_tags_are_kept_once_in_their_order():
    tags = ["b", "a:1", "b", "A.b_c-d", "9", "a:1", "x" * 50]
    spec = RunSpec.model_validate({"tags": tags})
    assert spec.tags == ["b", "a:1", "A.b_c-d", "9", "x" * 50]
    assert refusals({"tags": [f"t{i}" for i in range(21)]})
    assert refusals({"tags": "a"})


def test_probes_may_list_images_of_the_dataset():
    listed = ["test:296", "train:1499", "test:0"]
    spec = RunSpec.model_validate({"dataset": "digits", "probes": {"images": listed}})
    assert spec.probes.images == listed


@pytest.mark.parametrize(
    ("probes", "words"),
    [
        ({"images": ["test:297"]}, "test of digits has images 0 to 296"),
        ({"images": ["train:1500"]}, "train of digits has images 0 to 1499"),
        ({"images": ["test:01"]}, "test:<index> or train:<index>"),
        ({"images": ["upload:a/b"]}, "upload:a/b"),
        ({"images": ["x" * 10_000]}, "test:<index>"),
        ({"per_class": 0}, "0 probes; a run has 1 to 1000"),
        ({"per_class": 100, "images": ["test:1"]}, "1001 probes"),
        ({"images": ["test:1"] * 201}, "at most 200"),
    ],
    ids=str,
)
def test_probes_that_cannot_be_watched_are_refused(probes, words):
    ((where, said),) = refusals({"dataset": "digits", "probes": probes}).items()
    assert where.startswith("probes")
    assert words in said


def test_a_dataset_that_is_refused_is_the_only_error():
    fields = {"dataset": "cifar", "samples_per_epoch": 50_000, "probes": {"images": ["test:9000"]}}
    assert list(refusals(fields)) == ["dataset"]


def test_all_errors_of_a_body_are_told_at_once():
    fields = {"epochs": 0, "seed": -1, "architecture": {"dropout": 2}, "nonsense": 1}
    assert set(refusals(fields)) == {"epochs", "seed", "architecture.dropout", "nonsense"}


def test_a_spec_cannot_be_changed():
    spec = RunSpec.model_validate({})
    with pytest.raises(ValidationError):
        spec.epochs = 3
    assert copy.deepcopy(spec) == spec
