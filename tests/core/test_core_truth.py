"""Maps where the right place is known: digits among blank blocks, and mosaics of photos."""

from dataclasses import replace

import pytest
import torch

from service.core.cams.methods import RECOMMENDED
from service.core.datasets.block_digits import block_dataset, null_block, place_digits
from service.core.datasets.dataset import Split
from service.core.input import unnormalized_input
from service.core.measures.explainer import Explainer
from service.core.measures.quarters import (
    UNIFORM_SHARE,
    arrange_quarters,
    quarter_masks,
    quarter_shares,
)
from service.core.preprocessing import to_network_input
from service.core.spec import RunSpec
from service.core.training import train

DIGIT_MARGIN = 0.15
"""By how much shares of `hires-cam` and the recommended method exceed those of random maps."""
MOSAIC_MARGIN = 0.3


def test_share_of_a_quarter_counts_positive_values_alone():
    maps = torch.tensor([[[3.0, 1.0], [-5.0, 0.0]]]).repeat(4, 1, 1)
    shares = quarter_shares(maps, torch.arange(4))
    assert torch.allclose(shares, torch.tensor([0.75, 0.25, 0.0, 0.0]))


def test_uniform_map_has_a_quarter_in_each_and_a_blank_map_nothing():
    quarters = torch.arange(4)
    assert torch.allclose(
        quarter_shares(torch.ones(4, 6, 10), quarters), torch.tensor(UNIFORM_SHARE)
    )
    assert quarter_shares(-torch.ones(4, 6, 10), quarters).tolist() == [0, 0, 0, 0]


def test_quarters_are_counted_row_by_row():
    tiles = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 2, 3)
    mosaic = arrange_quarters(tiles)[0]
    assert mosaic.tolist() == 2 * [[0] * 3 + [1] * 3] + 2 * [[2] * 3 + [3] * 3]
    for quarter, mask in enumerate(quarter_masks(torch.arange(4), (4, 6))):
        assert torch.equal(mask, mosaic == quarter)


def test_odd_side_has_no_quarters():
    with pytest.raises(ValueError, match="both sides must be even, not 3 x 4"):
        quarter_masks(torch.tensor([0]), (3, 4))


def test_digits_are_placed_where_the_quarters_say_with_null_blocks_elsewhere(digits):
    small_split = Split(digits.test.images[:40], digits.test.labels[:40])
    blocks = place_digits(small_split, seed=3)
    assert set(blocks.quarters.tolist()) == {0, 1, 2, 3}
    assert torch.equal(blocks.split.labels, small_split.labels)
    for digit, image, quarter in zip(
        small_split.images, blocks.split.images, blocks.quarters, strict=True
    ):
        tiles = null_block().repeat(4, 1, 1, 1)
        tiles[quarter] = digit
        assert torch.equal(image, arrange_quarters(tiles))
    assert torch.equal(place_digits(small_split, seed=3).quarters, blocks.quarters)
    assert not torch.equal(place_digits(small_split, seed=4).quarters, blocks.quarters)


def test_images_of_another_size_are_refused():
    images = Split(torch.zeros(2, 1, 32, 32, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="images: must be of shape"):
        place_digits(images, seed=0)


@pytest.fixture(scope="module")
def trained_on_blocks(digits):
    """A network trained on digits among null blocks, 100 test images and the digits' quarters."""
    small_split = replace(
        digits, train=Split(digits.train.images[:1000], digits.train.labels[:1000])
    )
    data, quarters = block_dataset(small_split, seed=0)
    spec = RunSpec.model_validate(
        {
            "dataset": "digits",
            "input": unnormalized_input("gray", 56, 56).model_dump(mode="json"),
            "architecture": {
                "channels": [8, 16],
                "hidden_units": 64,
                "hidden_activation": "relu",
            },
            "optimizer": {"name": "adam", "learning_rate": 3e-3},
            "epochs": 6,
            "samples_per_epoch": 1000,
            "batch_size": 50,
        }
    )
    *_, last = train(spec, data)
    assert last.test_accuracy > 0.4
    images = to_network_input(data.test.images[:100], spec.input)
    return last.network.eval(), images, data.test.labels[:100], quarters[:100]


@pytest.mark.parametrize("method", ["hires-cam", RECOMMENDED])
def test_maps_of_digits_lie_on_the_digit(trained_on_blocks, method):
    network, images, labels, quarters = trained_on_blocks
    shares, random_shares = (
        quarter_shares(Explainer(text, "conv2")(network, images, labels), quarters).mean()
        for text in (method, "random")
    )
    assert shares > max(UNIFORM_SHARE, random_shares) + DIGIT_MARGIN


@pytest.fixture(scope="module")
def mosaic_task():
    # Skipped without the weights and the photos, which are no dependencies.
    mosaics = pytest.importorskip("benchmarks.mosaics")
    from benchmarks.truth import mosaic_tasks

    return next(mosaic_tasks(mosaics.LATIN_SQUARE))


@pytest.mark.parametrize("method", ["hires-cam", RECOMMENDED])
def test_maps_of_photos_lie_in_the_quarter_of_their_class(mosaic_task, method):
    from benchmarks.truth import explain

    means = [torch.tensor(explain(mosaic_task, text).values).mean() for text in (method, "random")]
    assert means[0] > max(UNIFORM_SHARE, means[1]) + MOSAIC_MARGIN
