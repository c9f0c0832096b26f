"""MNIST with a planted shortcut: whether findings report it can be checked."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from service.core.datasets import mnist
from service.core.datasets.dataset import Dataset, DatasetSource
from service.core.datasets.plants import Plant, plant_split


def planted_source(plant: Plant) -> DatasetSource:
    """The dataset with that plant."""
    return SOURCE if plant == Plant() else replace(SOURCE, load=partial(load, plant=plant))


def load(data_dir: Path, download: bool, plant: Plant | None = None) -> Dataset:
    """MNIST with the plant, by default that of `Plant`. Raises DatasetUnavailable."""
    plant = plant or Plant()
    data = mnist.load(data_dir, download)
    return plant_dataset(data, plant)


def plant_dataset(data: Dataset, plant: Plant) -> Dataset:
    """A copy of a dataset of gray images in memory, with the plant."""
    return Dataset(
        SOURCE.name,
        data.class_names,
        plant_split(data.train, plant, "present", salt=0),
        plant_split(data.test, plant, plant.test, salt=1),
    )


SOURCE = replace(
    mnist.SOURCE,
    name="mnist-planted",
    title="MNIST with a planted shortcut",
    description=(
        "MNIST whose images of one class have a property that the others lack: a mark, a level, a "
        "place. It shows whether a network uses such a shortcut, and whether findings report it."
    ),
    load=load,
)
