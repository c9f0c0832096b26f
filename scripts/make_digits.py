"""Make service/core/datasets/digits.npz from scikit-learn's copy of UCI's handwritten digits."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TARGET = Path(__file__).parent.parent / "service/core/datasets/digits.npz"


def main() -> None:
    images, labels = load_digits(return_X_y=True)
    np.savez_compressed(
        TARGET,
        images=images.reshape(-1, 8, 8).astype(np.uint8),
        labels=labels.astype(np.uint8),
    )


if __name__ == "__main__":
    main()
