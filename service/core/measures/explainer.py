"""A method at its layer, as a function from images to maps on their pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from service.core.cams.maps import class_maps
from service.core.cams.method import Cost
from service.core.cams.methods import MethodSpec
from service.core.input import InputSpec
from service.core.measures.measure import images_per_pass
from service.core.measures.resampling import layer_placement, resample_to_pixels
from service.core.models.network import Network
from service.core.progress import track


@dataclass(frozen=True)
class Explainer:
    """Explains images by a method at a layer."""

    text: str  # of a MethodSpec: `layer-cam/centered`
    layer: str  # as `class_maps` takes it

    def __call__(
        self,
        network: Network,
        images: Tensor,
        classes: Tensor,
        input_spec: InputSpec | None = None,
    ) -> Tensor:
        """Maps after their ReLU (N, h, w), >= 0, each for its image's class.

        `input_spec` is what the images were made by, as of `class_maps`. Raises UnknownName and
        InvalidValue.
        """
        placement = layer_placement(network, self.layer, images[:1])
        size = (images.shape[-2], images.shape[-1])
        pass_size = images_per_pass(network, images)
        maps = images.new_zeros(len(images), *size)
        for labels in track(self._class_groups(classes)):
            indices = torch.isin(classes, labels).nonzero().squeeze(1)
            for chunk in track(torch.split(indices, pass_size)):
                result = class_maps(
                    network,
                    images[chunk],
                    self.layer,
                    [self.text],
                    labels.tolist(),
                    input_spec=input_spec,
                )
                signed = torch.from_numpy(result.signed[self.text]).to(maps)
                columns = torch.searchsorted(labels, classes[chunk])
                values = signed[torch.arange(len(chunk)), columns].clamp(min=0)
                maps[chunk] = resample_to_pixels(values, size, placement)
        return maps

    def _class_groups(self, classes: Tensor) -> Sequence[Tensor]:
        """The distinct classes, ascending, in groups that are explained together.

        One by one, so that each image is explained for its own class alone, unless all classes cost
        no more than one.
        """
        distinct = torch.unique(classes)
        cost = MethodSpec.parse(self.text).method.cost
        return [distinct] if cost is Cost.FORWARD else torch.split(distinct, 1)
