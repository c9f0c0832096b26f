"""The embedded dataset: UCI's handwritten digits, without a download.

1,797 real digits of 8 x 8 pixels with 17 gray levels (Alpaydin and Kaynak 1998, CC BY 4.0), resized
to MNIST's 28 x 28 so that the paper's network takes them. `scripts/make_digits.py` made the file.
"""

from importlib import resources
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it

from service.core.datasets.dataset import Dataset, DatasetSource, Split
from service.core.input import unnormalized_input

TRAIN_SIZE = 1_500


def load(data_dir: Path, download: bool) -> Dataset:  # noqa: ARG001  the table's signature
    """The first 1,500 images to train, the other 297 to test, resized bilinearly to 28 x 28."""
    with (
        resources.files("service.core.datasets").joinpath("digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        levels, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
    # 16 is the brightest of UCI's levels.
    small = levels.unsqueeze(1).float() * (255 / 16)
    images = F.interpolate(small, size=(28, 28), mode="bilinear", align_corners=False)
    images = images.round().clamp(0, 255).to(torch.uint8)
    labels = labels.long()
    return Dataset(
        "digits",
        SOURCE.class_names,
        Split(images[:TRAIN_SIZE], labels[:TRAIN_SIZE]),
        Split(images[TRAIN_SIZE:], labels[TRAIN_SIZE:]),
    )


SOURCE = DatasetSource(
    name="digits",
    title="UCI handwritten digits",
    description=(
        "1,797 real digits of 8 x 8 pixels, resized to 28 x 28; embedded, so that it works with no "
        "network. Not MNIST: smaller, and coarser."
    ),
    license="CC BY 4.0, Ethem Alpaydin and Cenk Kaynak, UCI Machine Learning Repository",
    image_shape=(1, 28, 28),
    class_names=tuple("0123456789"),
    train_size=TRAIN_SIZE,
    test_size=297,
    default_input=unnormalized_input("gray", 28, 28),
    load=load,
    bundled=True,
)
