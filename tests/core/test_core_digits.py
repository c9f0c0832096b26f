"""The embedded digits are those of scikit-learn (UCI), resized to the shape of MNIST."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits

from service.core.datasets import DATASETS

SOURCE = DATASETS["digits"]


def test_sizes_types_and_range_match_the_description(digits):
    for split, size in ((digits.train, SOURCE.train_size), (digits.test, SOURCE.test_size)):
        assert split.images.shape == (size, *SOURCE.image_shape)
        assert split.images.dtype == torch.uint8
        assert split.images.min() == 0
        assert split.images.max() == 255
        assert split.labels.shape == (size,)
        assert split.labels.dtype == torch.int64
        assert set(split.labels.tolist()) == set(range(10))
    assert (SOURCE.train_size, SOURCE.test_size) == (1500, 297)
    assert digits.class_names == SOURCE.class_names == tuple("0123456789")
    assert digits.split("train") is digits.train
    assert digits.split("test") is digits.test


def test_images_and_labels_equal_scikit_learn(digits):
    theirs = load_digits()
    ours = torch.cat([digits.train.images, digits.test.images])[:, 0].numpy()
    assert torch.cat([digits.train.labels, digits.test.labels]).tolist() == theirs.target.tolist()
    for i in range(0, 1797, 59):
        small = Image.fromarray(theirs.images[i].astype(np.float32) * (255 / 16))
        large = np.asarray(small.resize((28, 28), Image.Resampling.BILINEAR))
        assert np.abs(ours[i] - large).max() <= 1


def test_digits_need_neither_files_nor_downloads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = SOURCE.load(Path("nowhere"), True)
    assert len(data.train.labels) == 1500
    assert not list(tmp_path.iterdir())
