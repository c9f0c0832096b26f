"""torch-cam and pytorch-grad-cam draw the same maps, each after its own normalization."""

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
    # Theirs hang hooks on the network and take its gradients.
    return copy.deepcopy(learned("identity"))


def test_the_proposed_map_is_torch_cams_after_its_scaling(network, images):
    ours = class_maps(network, images, "conv2", ["proposed"])
    for label in range(10):
        with TorchCamGradCAM(network, target_layer="conv2") as extractor:
            (theirs,) = extractor(label, network(images))
        for i in range(len(images)):
            values = ours.class_map("proposed", i, label).values
            lifted = values - values.min()
            scaled = lifted / (lifted.max() + 1e-8)  # equation 3, with the guard of torch-cam
            assert np.allclose(scaled, theirs[i].numpy(), atol=1e-4)


def test_the_proposed_map_is_pytorch_grad_cams_after_its_scaling(network, images):
    ours = class_maps(network, images, "conv2", ["proposed"])
    with TheirGradCAM(model=network, target_layers=[network.conv2]) as extractor:
        for label in range(10):
            theirs = extractor(images, [ClassifierOutputTarget(label)] * len(images))
            for i in range(len(images)):
                values = ours.class_map("proposed", i, label).values
                # It scales a layer's map, resizes it, takes the mean over layers, scales again.
                resized = scale_cam_image(values[None], (28, 28))
                assert np.allclose(scale_cam_image(resized)[0], theirs[i], atol=1e-4)
