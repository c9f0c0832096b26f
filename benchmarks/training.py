"""An epoch of training: ours, and the same network and recipe as torch's users write it.

Each turn is a process of its own, so that nobody profits from another's warm allocator. It trains
one epoch to warm up and times the second; nothing is evaluated in that time. Afterwards each proves
on test images that it learned.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import nn
from torch.utils.data import DataLoader, RandomSampler
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from benchmarks.mnist_folder import mnist_folder
from benchmarks.report import Report
from benchmarks.timing import Contender, Target, interleaved, ratio
from service.core.allocator import keep_freed_memory
from service.core.datasets import DATASETS
from service.core.datasets.dataset import Dataset, Split
from service.core.spec import RunSpec
from service.core.training import train

REPOSITORY = Path(__file__).parent.parent
BATCH = 100
IMAGES, QUICK_IMAGES = 10_000, 1_000
ACCURACY_AFTER_TWO_EPOCHS, QUICK_ACCURACY = 0.9, 0.3
TEST_IMAGES = 1_000


def run(rounds: int, quick: bool) -> Report:
    folder = mnist_folder()
    images = QUICK_IMAGES if quick else IMAGES
    accuracy = QUICK_ACCURACY if quick else ACCURACY_AFTER_TWO_EPOCHS

    def contender(*arguments: str) -> Contender:
        return lambda: _in_fresh_process(folder, images, accuracy, arguments)

    ours, plain, plain_workers = interleaved(
        {
            "Camreel": contender("camreel"),
            "plain loop, DataLoader in the process": contender("plain", "--workers", "0"),
            "plain loop, DataLoader with 2 workers": contender("plain", "--workers", "2"),
        },
        rounds,
    ).values()
    return Report(
        "training",
        f"One epoch: {images:,} of MNIST's 60,000 images, batches of {BATCH}, Table-1 network, "
        "Adadelta 1.0. The plain loop is torchvision's MNIST with ToTensor behind a DataLoader.",
        [ours, plain, plain_workers],
        [
            ratio("Camreel / plain loop", ours, plain, Target("<=", 0.75)),
            ratio("Camreel / plain loop with 2 workers", ours, plain_workers, Target("<=", 0.75)),
        ],
    )


def camreel(folder: Path, images: int) -> tuple[float, nn.Module]:
    """Seconds of the second epoch, and the network."""
    keep_freed_memory()  # as a run's worker does when it starts
    data = DATASETS["mnist"].load(folder, False)
    # One test image: `train` scores every epoch on the test split, and that is not compared here.
    single_image = Split(data.test.images[:1], data.test.labels[:1])
    spec = RunSpec(epochs=2, samples_per_epoch=images, batch_size=BATCH)
    epochs = train(spec, Dataset(data.name, data.class_names, data.train, single_image))
    next(epochs)  # epoch 0 is the untrained network
    next(epochs)
    start = time.perf_counter()
    result = next(epochs)
    return time.perf_counter() - start, result.network


def plain(folder: Path, images: int, workers: int) -> tuple[float, nn.Module]:
    """Seconds of the second epoch, and the network."""
    data = MNIST(str(folder), train=True, transform=ToTensor())
    loader = DataLoader(
        data,
        batch_size=BATCH,
        sampler=RandomSampler(data, replacement=False, num_samples=images),
        num_workers=workers,
        persistent_workers=workers > 0,  # else each epoch starts its workers anew
    )
    network = nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(9216, 128),
        nn.Sigmoid(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )
    optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)

    def epoch() -> None:
        for batch, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(network(batch), labels).backward()
            optimizer.step()

    epoch()
    start = time.perf_counter()
    epoch()
    return time.perf_counter() - start, network


def _in_fresh_process(
    folder: Path, images: int, accuracy: float, arguments: tuple[str, ...]
) -> float:
    command = [sys.executable, "-m", "benchmarks.training", *arguments]
    command += ["--folder", str(folder), "--images", str(images)]
    process = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    answer = json.loads(process.stdout)
    if answer["accuracy"] < accuracy:
        raise SystemExit(f"{' '.join(arguments)} learned only to {answer['accuracy']:.3f}")
    return float(answer["seconds"])


def _main() -> None:
    parser = argparse.ArgumentParser(description="One contender's turn; answers with JSON.")
    parser.add_argument("contender", choices=["camreel", "plain"])
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--images", type=int, required=True)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    turns: dict[str, Callable[[], tuple[float, nn.Module]]] = {
        "camreel": lambda: camreel(arguments.folder, arguments.images),
        "plain": lambda: plain(arguments.folder, arguments.images, arguments.workers),
    }
    seconds, network = turns[arguments.contender]()
    test = DATASETS["mnist"].load(arguments.folder, False).test
    print(json.dumps({"seconds": seconds, "accuracy": _accuracy(network, test)}))


def _accuracy(network: nn.Module, test: Split) -> float:
    network.eval()
    with torch.no_grad():
        units = network(test.images[:TEST_IMAGES].float() / 255)
    return float((units.argmax(1) == test.labels[:TEST_IMAGES]).float().mean())


if __name__ == "__main__":
    _main()
