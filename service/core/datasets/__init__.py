"""The built-in datasets of runs. A new one is a file here and an entry of the table."""

from service.core.datasets import cifar, digits, mnist, planted
from service.core.datasets.dataset import DatasetSource

DATASETS: dict[str, DatasetSource] = {
    source.name: source
    for source in (
        mnist.SOURCE,
        planted.SOURCE,
        digits.SOURCE,
        mnist.FASHION_SOURCE,
        mnist.KUZUSHIJI_SOURCE,
        cifar.SOURCE,
    )
}
