"""ResNet-20 for small images (He, Zhang, Ren and Sun, "Deep Residual Learning for Image
Recognition", 2015, section 4.2).
"""

from typing import Literal

import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor, nn

from service.core.models.architecture import ArchitectureParameters

WIDTHS = (16, 32, 64)
BLOCKS_PER_WIDTH = 3


class Shortcut(nn.Module):
    """Option A of the paper: every second pixel, and zeros for the additional channels.

    (N, K, H, W) -> (N, K', H / 2, W / 2), without parameters.
    """

    def __init__(self, added_channels: int) -> None:
        super().__init__()
        self.added_channels = added_channels

    def forward(self, signal: Tensor) -> Tensor:
        """The subsampled signal with the additional channels last."""
        return F.pad(signal[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.added_channels))


class Block(nn.Module):
    """Two 3 x 3 convolutions with batch normalization, added to their input, then ReLU."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        stride = 1 if channels_in == channels else 2
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity() if stride == 1 else Shortcut(channels - channels_in)
        self.relu2 = nn.ReLU()

    def forward(self, signal: Tensor) -> Tensor:
        """(N, K, H, W) -> (N, K', H', W'), >= 0."""
        residual = self.relu1(self.bn1(self.conv1(signal)))
        residual = self.bn2(self.conv2(residual))
        output: Tensor = self.relu2(residual + self.shortcut(signal))
        return output


class ResidualNetwork(nn.Module):
    """Images (N, D, H, W) -> pre-activations (N, C)."""

    def __init__(self, depth: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(depth, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU()
        self.layer1 = _group(WIDTHS[0], WIDTHS[0])
        self.layer2 = _group(WIDTHS[0], WIDTHS[1])
        self.layer3 = _group(WIDTHS[1], WIDTHS[2])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(WIDTHS[2], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """The pre-activations x (N, C) of images (N, D, H, W)."""
        signal = self.relu(self.bn1(self.conv1(images)))
        signal = self.layer3(self.layer2(self.layer1(signal)))
        pre_activations: Tensor = self.fc(self.avgpool(signal).flatten(1))
        return pre_activations


class ResNet20(ArchitectureParameters):
    """ResNet-20 (He et al. 2015, section 4.2): nine residual blocks of 16, 32 and 64 channels.

    Shortcuts are of option A, without parameters, so that it has 0.27 million for color images.
    The paper trains it with SGD at 0.1, momentum 0.9, flips and crops of padding 4.
    """

    name: Literal["resnet20"] = "resnet20"

    def build(self, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
        """The network for images (D, H, W) of any size."""
        return ResidualNetwork(image_shape[0], classes)


def _group(channels_in: int, channels: int) -> nn.Sequential:
    same_width_blocks = [Block(channels, channels) for _ in range(BLOCKS_PER_WIDTH - 1)]
    return nn.Sequential(Block(channels_in, channels), *same_width_blocks)
