"""Images under maps, enlarged: against torch's interpolation."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from service.core.render.cells import image_rgb


@pytest.mark.parametrize("size", [28, 29, 56, 57, 100, 223, 224, 511, 1024])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 13, 28), (1, 28, 5)])
def test_enlarged_image_has_the_nearest_pixels(shape: tuple[int, int, int], size: int) -> None:
    image = torch.randint(256, shape, dtype=torch.uint8)
    expected = interpolate(image[None].double(), size=(size, size), mode="nearest-exact")[0]
    rgb = image_rgb(image, size)
    assert rgb.shape == (size, size, 3)
    np.testing.assert_array_equal(rgb, expected.permute(1, 2, 0).expand(-1, -1, 3).numpy())
