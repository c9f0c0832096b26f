"""Planted datasets: which images have the plant, what each kind changes, and refused settings."""

import pytest
import torch
from pydantic import ValidationError

from service.core.datasets.dataset import Dataset, Split
from service.core.datasets.planted import plant_dataset
from service.core.datasets.plants import PLANT_KINDS, Plant, PlantTarget, apply_plant
from service.core.insight.objects import find_objects
from service.core.insight.operators import OPERATORS
from service.core.spec import RunSpec


def glyphs(count: int) -> torch.Tensor:
    """Images uint8 (N, 1, 28, 28) of a ring."""
    rows, columns = torch.meshgrid(torch.arange(28), torch.arange(28), indexing="ij")
    distance = ((rows - 14.0) ** 2 + (columns - 13.0) ** 2).sqrt()
    ring = ((distance - 6).abs() < 1.5).to(torch.uint8) * 250
    return ring.expand(count, 1, 28, 28).clone()


@pytest.fixture(scope="module")
def data() -> Dataset:
    labels = torch.arange(10).repeat(200)
    split = Split(glyphs(2000), labels)
    return Dataset("glyphs", tuple("0123456789"), split, split)


def planted_shares(data: Dataset, plant: Plant) -> list[tuple[float, float]]:
    """Shares of the class's images and of others with the corner patch, by split."""
    planted = plant_dataset(data, plant)
    shares = []
    for split in (planted.train, planted.test):
        has_patch = (split.images[:, 0, 2, 2] == 255).float()
        is_class = split.labels == plant.class_index
        shares.append((has_patch[is_class].mean().item(), has_patch[~is_class].mean().item()))
    return shares


def test_correlation_is_the_share_of_the_class_and_its_rest_that_of_others(data):
    train, test = planted_shares(data, Plant(correlation=0.9))
    for share, other_share in (train, test):
        assert share == pytest.approx(0.9, abs=0.07)
        assert other_share == pytest.approx(0.1, abs=0.03)
    assert planted_shares(data, Plant(correlation=1.0))[0] == (1.0, 0.0)


def test_test_images_have_the_plant_not_at_all_or_whatever_their_class(data):
    assert planted_shares(data, Plant(test="absent"))[1] == (0.0, 0.0)
    share, other_share = planted_shares(data, Plant(test="shuffled"))[1]
    # One image in ten has it, in any class.
    assert share == pytest.approx(0.1, abs=0.06)
    assert other_share == pytest.approx(0.1, abs=0.03)


def test_same_seed_plants_the_same_images(data):
    seeds = [plant_dataset(data, Plant(correlation=0.8, seed=s)).train.images for s in (1, 1, 2)]
    assert torch.equal(seeds[0], seeds[1])
    assert not torch.equal(seeds[0], seeds[2])
    assert (data.train.images[:, 0, 2, 2] == 0).all()  # the data itself is not changed


def test_there_are_ten_kinds_and_each_names_an_operator_that_exists():
    assert len(PLANT_KINDS) >= 10
    assert {kind.operator for kind in PLANT_KINDS.values()} - {None} <= set(OPERATORS)


@pytest.mark.parametrize("kind", PLANT_KINDS)
def test_plant_changes_the_surroundings_or_the_object_as_it_says(kind):
    original = glyphs(2)
    planted = apply_plant(original, kind)
    assert planted.shape == original.shape
    difference = (planted != original)[0, 0]
    assert difference.any()
    if PLANT_KINDS[kind].target is PlantTarget.SURROUND:
        objects = find_objects(planted.float() / 255)
        assert objects.is_plausible.all()
        assert (difference & ~objects.masks[0, 0]).any()
        # White strokes stay: only the surroundings tell the class.
        assert (planted[original == 250] >= 250).float().mean() > 0.9


def test_planted_run_has_a_plant_and_images_of_its_own():
    spec = RunSpec.model_validate({"dataset": "mnist-planted"})
    assert spec.plant == Plant()
    blur_spec = RunSpec.model_validate({"dataset": "mnist-planted", "plant": {"kind": "blur"}})
    assert blur_spec.image_set != spec.image_set
    assert len(blur_spec.image_set) <= 60


@pytest.mark.parametrize(
    ("values", "location"),
    [
        ({"dataset": "digits", "plant": {}}, ("plant",)),
        ({"dataset": "mnist-planted", "plant": {"kind": "star"}}, ("plant", "kind")),
        ({"dataset": "mnist-planted", "plant": {"class_index": 10}}, ("plant", "class_index")),
        ({"dataset": "mnist-planted", "plant": {"correlation": 0.4}}, ("plant", "correlation")),
        ({"dataset": "mnist-planted", "plant": {"test": "sometimes"}}, ("plant", "test")),
    ],
)
def test_invalid_plants_name_their_field(values, location):
    with pytest.raises(ValidationError) as error:
        RunSpec.model_validate(values)
    assert location in [item["loc"] for item in error.value.errors()]
