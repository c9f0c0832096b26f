"""Small classifiers whose parts tests replace."""

import torch
from torch import nn

IMAGES = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
CLASSES = 4


class Classifier(nn.Module):
    """A convolution, global average pooling, a linear layer; subclasses change parts."""

    def __init__(self, classes=CLASSES):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3)
        self.register_buffer("calls", torch.tensor(1))
        self.relu = nn.ReLU()
        self.fc = nn.Linear(6, classes)

    def features(self, images):
        return self.relu(self.conv(images))

    def ending(self, logits):
        return logits

    def forward(self, images):
        return self.ending(self.fc(self.features(images).mean((2, 3))))


def with_features(function):
    class Variant(Classifier):
        def features(self, images):
            return function(self, images)

    return Variant()


def with_ending(function, classes=CLASSES):
    class Variant(Classifier):
        def ending(self, logits):
            return function(logits)

    return Variant(classes)
