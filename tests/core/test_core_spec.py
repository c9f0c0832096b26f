"""The spec of a run: defaults of the API, and strict bounds."""

import copy
import json
import math

import pytest
from pydantic import ValidationError

from service.core.datasets import DATASETS
from service.core.optimizers import OPTIMIZERS
from service.core.schedules import SCHEDULES
from service.core.spec import RunSpec

DEFAULTS = {
    "name": "",
    "tags": [],
    "dataset": "mnist",
    "dataset_info": None,
    "plant": None,
    "input": {
        "channels": "gray",
        "resize": {"mode": "exact", "size": 28, "interpolation": "bilinear", "antialias": True},
        "crop": None,
        "mean": [0.0],
        "std": [1.0],
        "baseline": "black",
    },
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
    "schedule": {"name": "constant", "warmup_epochs": 0},
    "samples_per_epoch": 10000,
    "batch_size": 100,
    "label_smoothing": 0.0,
    "augmentation": {"flip_probability": 0.0, "shift_fraction": 0.0, "crop_padding": 0},
    "seed": 0,
    "precision": "float32",
    "device": "auto",
    "keep_states": "last",
    "probes": {"per_class": 1, "images": []},
}


def body(path: str, value: object) -> dict:
    """A body with one field, which may be nested: `optimizer.learning_rate`."""
    *outer, last = path.split(".")
    fields: dict = {last: value}
    for name in reversed(outer):
        fields = {name: fields}
    return fields


def read_field(spec: RunSpec, path: str) -> object:
    value: object = spec
    for name in path.split("."):
        value = getattr(value, name)
    return value


def refusals(fields: dict) -> dict[str, str]:
    """Error messages by field. Fails the test if the body is valid."""
    with pytest.raises(ValidationError) as refusal:
        RunSpec.model_validate(fields)
    return {
        ".".join(str(part) for part in error["loc"]): error["msg"]
        for error in refusal.value.errors()
        # Accompanies other errors, because the default number of samples depends on the dataset.
        if error["type"] != "default_factory_not_called"
    }


def test_empty_body_has_the_defaults_of_the_api():
    spec = RunSpec.model_validate({}).model_dump(mode="json")
    # Adadelta's decay is not in DEFAULTS, which lists only parameters of all optimizers.
    assert spec["optimizer"].pop("rho") == 0.9
    assert spec == DEFAULTS
    assert list(spec) == list(DEFAULTS)


def test_spec_round_trips_as_a_body():
    spec = RunSpec.model_validate({"dataset": "digits", "optimizer": {"name": "adam"}})
    dumped = json.loads(json.dumps(spec.model_dump(mode="json")))
    assert RunSpec.model_validate(dumped) == spec


def test_default_samples_per_epoch_of_digits_are_all_images():
    assert RunSpec.model_validate({"dataset": "digits"}).samples_per_epoch == 1500


def test_output_sigmoid_can_be_selected():
    spec = RunSpec.model_validate({"architecture": {"output_activation": "sigmoid"}})
    assert spec.architecture.build((1, 28, 28), 10).output_activation == "sigmoid"


BOUNDS = [
    # path, lowest, highest, below, above
    ("epochs", 0, 10_000, -1, 10_001),
    ("samples_per_epoch", 1, 60_000, 0, 60_001),
    ("batch_size", 1, 10_000, 0, 10_001),
    ("label_smoothing", 0, math.nextafter(1, 0), -1e-9, 1.0),
    ("augmentation.flip_probability", 0, 1, -1e-9, 1.1),
    ("augmentation.shift_fraction", 0, 0.5, -1e-9, 0.51),
    ("augmentation.crop_padding", 0, 64, -1, 65),
    ("schedule.warmup_epochs", 0, 10_000, -1, 10_001),
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
def test_numbers_are_accepted_within_their_bounds_only(path, lowest, highest, below, above):
    images = {"images": ["test:0"]} if path == "probes.per_class" else {}
    for value in (lowest, highest):
        fields = body(path, value)
        fields.get("probes", {}).update(images)
        if images and value == 100:
            fields["probes"]["images"] = []  # at most 1,000 probes
        assert read_field(RunSpec.model_validate(fields), path) == value
    for value in (below, above):
        (location,) = refusals(body(path, value))
        name = path.rpartition(".")[2]
        assert name in location.split(".")


@pytest.mark.parametrize(
    ("fields", "name", "bound"),
    [
        ({"optimizer": {"name": "sgd", "momentum": 1.0}}, "momentum", "less than 1"),
        ({"optimizer": {"name": "sgd", "momentum": -0.1}}, "momentum", "equal to 0"),
        ({"optimizer": {"name": "sgd", "weight_decay": 11}}, "weight_decay", "equal to 10"),
        ({"optimizer": {"name": "adamw", "weight_decay": 11}}, "weight_decay", "equal to 10"),
        ({"optimizer": {"name": "adamw", "weight_decay": -1}}, "weight_decay", "equal to 0"),
        ({"optimizer": {"name": "adam", "learning_rate": 0}}, "learning_rate", "greater than 0"),
        ({"optimizer": {"learning_rate": 1e30}}, "learning_rate", "equal to 100"),
        ({"epochs": 10**9}, "epochs", "equal to 10000"),
        ({"epochs": -1}, "epochs", "equal to 0"),
        ({"schedule": {"warmup_epochs": -1}}, "warmup_epochs", "equal to 0"),
        ({"schedule": {"name": "cosine", "span_epochs": 0}}, "span_epochs", "equal to 1"),
        ({"schedule": {"name": "cosine", "final_factor": 1.5}}, "final_factor", "equal to 1"),
        ({"schedule": {"name": "step", "interval_epochs": 0}}, "interval_epochs", "equal to 1"),
        ({"schedule": {"name": "step", "reduction_factor": 0}}, "reduction_factor", "than 0"),
        (
            {"schedule": {"name": "cosine", "warmup_epochs": 3}, "epochs": 3},
            "warmup_epochs",
            "less than the 3 epochs",
        ),
        ({"batch_size": 0}, "batch_size", "equal to 1"),
        ({"architecture": {"dropout": 1.0}}, "dropout", "less than 1"),
        ({"architecture": {"kernel_size": 4}}, "kernel_size", "odd: 1, 3, 5"),
        ({"architecture": {"kernel_size": 29}}, "kernel_size", "equal to 13"),
        ({"samples_per_epoch": 60_001}, "samples_per_epoch", "60000"),
        ({"dataset": "digits", "samples_per_epoch": 1501}, "samples_per_epoch", "1 to 1500"),
    ],
    ids=str,
)
def test_refusal_names_the_field_and_its_bound(fields, name, bound):
    ((location, message),) = refusals(fields).items()
    assert name in location.split(".")
    assert bound in message


@pytest.mark.parametrize("path", [path for path, *_ in BOUNDS if path != "architecture.channels"])
@pytest.mark.parametrize("value", [True, False, "5", None, [], {}, math.nan, math.inf, -math.inf])
def test_non_numbers_are_refused(path, value):
    assert refusals(body(path, value))


@pytest.mark.parametrize(
    "path", ["epochs", "samples_per_epoch", "batch_size", "seed", "architecture.kernel_size"]
)
@pytest.mark.parametrize("value", [5.0, 5.5, 10**400])
def test_counts_are_integers(path, value):
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
    ((_, message),) = refusals(fields).items()
    assert "not permitted" in message


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("dataset", list(DATASETS)),
        ("architecture.name", ["table1", "lenet5"]),
        ("architecture.hidden_activation", ["sigmoid", "relu", "tanh"]),
        ("architecture.output_activation", ["identity", "sigmoid"]),
        ("optimizer.name", list(OPTIMIZERS)),
        ("schedule.name", list(SCHEDULES)),
        ("precision", ["float32", "bfloat16"]),
        ("device", ["auto", "cpu", "cuda"]),
    ],
)
def test_unknown_names_are_refused_with_the_available_ones(path, names):
    for name in names:
        assert read_field(RunSpec.model_validate(body(path, name)), path) == name
    for unknown in ("imagenet", names[0].upper(), "", names[0] + " "):
        message = " ".join(refusals(body(path, unknown)).values())
        assert all(name in message for name in names)
    for value in (3, True, ["mnist"], {"name": "mnist"}):
        assert refusals(body(path, value))


@pytest.mark.parametrize("value", ["adam", 3, True, None, ["adam"], [], "", [{"name": "adam"}]])
@pytest.mark.parametrize(
    "name", ["optimizer", "architecture", "schedule", "augmentation", "probes"]
)
def test_non_objects_are_refused(name, value):
    assert refusals({name: value})


def test_default_optimizer_is_kept_if_only_its_learning_rate_is_set():
    optimizer = RunSpec.model_validate({"optimizer": {"learning_rate": 0.5}}).optimizer
    assert (optimizer.name, optimizer.learning_rate) == ("adadelta", 0.5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_has_a_learning_rate_and_builds(name):
    optimizer = RunSpec.model_validate(body("optimizer.name", name)).optimizer
    network = RunSpec.model_validate({}).architecture.build((1, 28, 28), 10)
    torch_optimizer = optimizer.build(network.parameters())
    assert type(torch_optimizer).__name__.lower() == name
    assert torch_optimizer.param_groups[0]["lr"] == optimizer.learning_rate


@pytest.mark.parametrize(
    ("policy", "epochs"),
    [("last", []), ("all", [0, 1, 2, 3, 4, 5, 6]), ("every:3", [0, 3, 6]), ("every:9999", [0])],
)
def test_states_are_kept_of_the_epochs_of_the_policy(policy, epochs):
    spec = RunSpec.model_validate({"keep_states": policy})
    assert [epoch for epoch in range(7) if spec.retains_state(epoch)] == epochs


@pytest.mark.parametrize(
    "text",
    ["", "every", "every:0", "every:-1", "every:03", "every:10000", "All", "last\n", "every:٣"],
)
def test_unknown_policy_of_states_is_refused(text):
    ((location, message),) = refusals({"keep_states": text}).items()
    assert location == "keep_states"
    assert "last, all or every:<n>" in message


@pytest.mark.parametrize("channels", [[], [32], [32, 64, 128], "32", [32.0, 64], [True, 2], 32])
def test_channels_are_two_counts(channels):
    assert refusals({"architecture": {"channels": channels}})


@pytest.mark.parametrize("name", ["", "Lernrate 0,1 — β", "x" * 200, "'; DROP TABLE runs; --"])
def test_name_can_be_any_line_of_text(name):
    assert RunSpec.model_validate({"name": name}).name == name


@pytest.mark.parametrize(
    "name", ["x" * 201, "a\0b", "a\nb", "a\tb", "\x7f", "\x1b[31m", "\ud800", 7, None, "end\n"]
)
def test_name_with_control_characters_or_over_200_characters_is_refused(name):
    assert list(refusals({"name": name})) == ["name"]


@pytest.mark.parametrize(
    "tag", ["", "-a", ".a", "a b", "a/b", "é", "x" * 51, "a\n", "a,b", "a\0", 3, None, "<b>"]
)
def test_invalid_tag_is_refused(tag):
    assert refusals({"tags": [tag]})


def test_tags_keep_their_order_without_duplicates():
    tags = ["b", "a:1", "b", "A.b_c-d", "9", "a:1", "x" * 50]
    spec = RunSpec.model_validate({"tags": tags})
    assert spec.tags == ["b", "a:1", "A.b_c-d", "9", "x" * 50]
    assert refusals({"tags": [f"t{i}" for i in range(21)]})
    assert refusals({"tags": "a"})


def test_probes_can_list_images_of_the_dataset():
    images = ["test:296", "train:1499", "test:0"]
    spec = RunSpec.model_validate({"dataset": "digits", "probes": {"images": images}})
    assert spec.probes.images == images


@pytest.mark.parametrize(
    ("probes", "text"),
    [
        ({"images": ["test:297"]}, "test of digits has images 0 to 296"),
        ({"images": ["train:1500"]}, "train of digits has images 0 to 1499"),
        ({"images": ["test:01"]}, "test:<index> or train:<index>"),
        ({"images": ["upload:a/b"]}, "test:<index>"),
        ({"images": ["x" * 10_000]}, "test:<index>"),
        ({"per_class": 0}, "0 probes; a run has 1 to 1000"),
        ({"per_class": 100, "images": ["test:1"]}, "1001 probes"),
        ({"images": ["test:1"] * 201}, "at most 200"),
    ],
    ids=str,
)
def test_invalid_probes_are_refused(probes, text):
    ((location, message),) = refusals({"dataset": "digits", "probes": probes}).items()
    assert location in ("probes.per_class", "probes.images", "probes.images.0")
    assert text in message


def test_unknown_dataset_is_the_only_error():
    fields = {"dataset": "cifar", "samples_per_epoch": 50_000, "probes": {"images": ["test:9000"]}}
    assert list(refusals(fields)) == ["dataset"]


def test_all_errors_of_a_body_are_reported_at_once():
    fields = {"epochs": -1, "seed": -1, "architecture": {"dropout": 2}, "nonsense": 1}
    expected = {"epochs", "seed", "architecture.table1.dropout", "nonsense"}
    assert set(refusals(fields)) == expected


def test_spec_is_immutable():
    spec = RunSpec.model_validate({})
    with pytest.raises(ValidationError):
        spec.epochs = 3
    assert copy.deepcopy(spec) == spec
