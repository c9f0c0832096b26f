"""A method at its layer, as a function from images to maps on their pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from service.core.cams.maps import class_maps
from service.core.cams.method import Cost
from service.core.cams.methods import MethodSpec
from service.core.measures.measure import batch_size
from service.core.measures.on_pixels import layer_placement, resample_to_pixels
from service.core.models import StagedNetwork
from service.core.progress import track


@dataclass(frozen=True)
class Explainer:
    """Explains images by the method that an Explanation's text names, `layer-cam/centered`."""

    text: str
    layer: str  # as `class_maps` takes it

    def __call__(self, network: StagedNetwork, images: Tensor, classes: Tensor) -> Tensor:
        """Maps after their ReLU (N, h, w), >= 0, each for its image's class.

        Raises UnknownName and InvalidValue.
        """
        place = layer_placement(network, self.layer, images[:1])
        size = (images.shape[-2], images.shape[-1])
        at_once = batch_size(network, images)
        maps = images.new_zeros(len(images), *size)
        for labels in track(self._together(classes)):
            own = torch.isin(classes, labels).nonzero().squeeze(1)
            for some in track(torch.split(own, at_once)):
                asked = labels.tolist()
                seen = class_maps(network, images[some], self.layer, [self.text], asked)
                signed = torch.from_numpy(seen.signed[self.text]).to(maps)
                picked = torch.searchsorted(labels, classes[some])
                values = signed[torch.arange(len(some)), picked].clamp(min=0)
                maps[some] = resample_to_pixels(values, size, place)
        return maps

    def _together(self, classes: Tensor) -> Sequence[Tensor]:
        """The classes, ascending, in groups that are asked for at once.

        One by one, so that each image is explained for its own class alone, unless all classes cost
        no more than one.
        """
        distinct = torch.unique(classes)
        cost = MethodSpec.parse(self.text).method.cost
        return [distinct] if cost is Cost.FORWARD else torch.split(distinct, 1)
