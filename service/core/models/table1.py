"""The paper's network (Sakai and Takenaka 2019, Table 1)."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from torch import nn

from service.core.models.architecture import minimum_side_reason
from service.core.models.network import OutputActivation
from service.core.models.stages import Convolution, StagedArchitecture, StagedNetwork

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
}


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise PydanticCustomError("even_number", "must be odd: 1, 3, 5, ... 13")
    return size


class Table1(StagedArchitecture):
    """Two convolutions with ReLU, max pooling, and two fully connected layers.

    Dropout stands between the fully connected layers, as in the example that Table 1 comes from
    (which has a second one, after the pooling, that the paper's text excludes).
    """

    name: Literal["table1"] = "table1"
    kernel_size: Annotated[
        int,
        Field(ge=1, le=13, json_schema_extra={"not": {"multipleOf": 2}}),
        AfterValidator(_odd),
    ] = 3
    """Side of both convolution kernels, odd. 13 is the largest that fits 28 x 28 images."""
    channels: Annotated[
        list[Annotated[int, Field(ge=1, le=512)]], Field(min_length=2, max_length=2)
    ] = Field(default_factory=lambda: [32, 64], json_schema_extra={"default": [32, 64]})
    """Output channels of the two convolutions."""
    hidden_units: Annotated[int, Field(ge=1, le=4096)] = 128
    """Units of the first fully connected layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Fraction of hidden units dropped at each step."""
    hidden_activation: Literal["sigmoid", "relu", "tanh"] = "sigmoid"
    """Activation of the hidden units."""
    output_activation: OutputActivation = "identity"
    """Activation between the last layer and softmax. The paper describes a sigmoid."""

    def unfit_reason(self, image_shape: tuple[int, int, int]) -> str | None:
        """Two convolutions leave two pixels of a side, or more, to pool."""
        reason = minimum_side_reason(image_shape, 2 * self.kernel_size)
        return reason and f"with kernel_size {self.kernel_size} {reason}"

    def build(self, image_shape: tuple[int, int, int], classes: int) -> StagedNetwork:
        """The network for images (D, H, W); raises ValueError where the kernels leave no map."""
        self.require_fit(image_shape)
        depth, height, width = image_shape
        conv1_channels, conv2_channels = self.channels
        pooled = [(side - 2 * (self.kernel_size - 1)) // 2 for side in (height, width)]
        return StagedNetwork(
            {
                "conv1": Convolution(depth, conv1_channels, self.kernel_size),
                "conv2": Convolution(conv1_channels, conv2_channels, self.kernel_size),
                "pool": nn.MaxPool2d(2),
                "flatten": nn.Flatten(),
                "hidden": nn.Linear(conv2_channels * pooled[0] * pooled[1], self.hidden_units),
                "activation": ACTIVATIONS[self.hidden_activation](),
                "dropout": nn.Dropout(self.dropout),
                "output": nn.Linear(self.hidden_units, classes),
            },
            output_activation=self.output_activation,
        )
