"""The real MNIST, if its files exist."""

import pytest


def test_mnist_has_its_known_labels_and_mean(mnist):
    assert mnist.train.images.shape == (60_000, 1, 28, 28)
    assert mnist.test.images.shape == (10_000, 1, 28, 28)
    # The first labels and the number of images per class.
    assert mnist.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert mnist.test.labels.bincount().tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    # The mean that is commonly used for normalization.
    assert mnist.train.images.float().mean().item() / 255 == pytest.approx(0.1307, abs=1e-4)
