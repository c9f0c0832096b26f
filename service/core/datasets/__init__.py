"""The datasets of runs. A new one is a file here and an entry of the table."""

from service.core.datasets import digits, mnist
from service.core.datasets.dataset import DatasetSource

DATASETS: dict[str, DatasetSource] = {
    source.name: source for source in (mnist.SOURCE, digits.SOURCE)
}
