"""torch-cam and pytorch-grad-cam compute the same maps, each with its own normalization."""

import copy

import numpy as np
import pytest
from pytorch_grad_cam import GradCAM as TheirGradCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torchcam.methods import GradCAM as TorchCamGradCAM

from service.core.cams.maps import class_maps


@pytest.fixture
def network(learned):
    # A copy, because the libraries add hooks and gradients to the network.
    return copy.deepcopy(learned("identity"))


def test_proposed_map_equals_torch_cam_after_its_scaling(network, images):
    ours = class_maps(network, images, "conv2", ["proposed"])
    for label in range(10):
        with TorchCamGradCAM(network, target_layer="conv2") as extractor:
            (theirs,) = extractor(label, network(images))
        for i in range(len(images)):
            values = ours.class_map("proposed", i, label).values
            shifted = values - values.min()
            scaled = shifted / (
                shifted.max() + 1e-8
            )  # equation 3, with the constant that torch-cam adds
            assert np.allclose(scaled, theirs[i].numpy(), atol=1e-4)


def test_proposed_map_equals_pytorch_grad_cam_after_its_scaling(network, images):
    ours = class_maps(network, images, "conv2", ["proposed"])
    with TheirGradCAM(model=network, target_layers=[network.conv2]) as extractor:
        for label in range(10):
            theirs = extractor(images, [ClassifierOutputTarget(label)] * len(images))
            for i in range(len(images)):
                values = ours.class_map("proposed", i, label).values
                # It scales a layer's map, resizes it, averages over layers and scales the result.
                resized = scale_cam_image(values[None], (28, 28))
                assert np.allclose(scale_cam_image(resized)[0], theirs[i], atol=1e-4)
