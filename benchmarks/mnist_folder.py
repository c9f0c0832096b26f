"""Where the benchmarks that train find MNIST: they never download it."""

import os
from pathlib import Path

BESIDE_THE_CHECKOUT = Path(__file__).parent.parent.parent / "shared" / "mnist"


def mnist_folder() -> Path:
    """The folder that CAMREEL_DATA_DIR names, or ../shared/mnist; exits where it holds no MNIST."""
    folder = Path(os.environ.get("CAMREEL_DATA_DIR", BESIDE_THE_CHECKOUT)).resolve()
    if not (folder / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        raise SystemExit(
            "This benchmark trains on the real MNIST, and it is not there: set CAMREEL_DATA_DIR to "
            "a folder in torchvision's layout (MNIST/raw with the four idx-ubyte files)."
        )
    return folder
