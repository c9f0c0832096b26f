"""The classifiers of torchvision, from random or given weights, trained in full or in parts."""

import re
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from service.core.models.architecture import ArchitectureParameters, minimum_side_reason
from service.core.models.weights import (
    load_tensors,
    read_torchvision_weights,
    read_weights_file,
)

PREFIX = "torchvision:"

# Not read from torchvision: importing it takes longer than importing torch.
CLASSIFIERS = tuple(
    """
    alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121 densenet161
    densenet169 densenet201 efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3
    efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7 efficientnet_v2_l
    efficientnet_v2_m efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5 mnasnet0_75
    mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small regnet_x_16gf
    regnet_x_1_6gf regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf
    regnet_y_128gf regnet_y_16gf regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf regnet_y_400mf
    regnet_y_800mf regnet_y_8gf resnet101 resnet152 resnet18 resnet34 resnet50 resnext101_32x8d
    resnext101_64x4d resnext50_32x4d shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5
    shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_b swin_s swin_t swin_v2_b swin_v2_s
    swin_v2_t vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn vit_b_16 vit_b_32
    vit_h_14 vit_l_16 vit_l_32 wide_resnet101_2 wide_resnet50_2
    """.split()  # noqa: SIM905  as a list it is a line a name
)
NAMES = tuple(PREFIX + name for name in CLASSIFIERS)

MINIMUM_SIDES = {
    "alexnet": 63,
    "convnext": 32,
    "densenet": 29,
    "googlenet": 15,
    "inception": 75,
    "squeezenet": 21,
    "swin": 4,
    "vgg": 32,
}
"""Pixels of the smallest images that a family can process, where more than one."""

MAXVIT_SIDE = 224
"""Windows of 7 positions fit its stages, of which the last has every 32nd pixel."""

AUXILIARY_HEADS = ("AuxLogits.", "aux1.", "aux2.")
"""Modules of Inception and GoogLeNet that serve training alone; left out here."""

WEIGHTS_PATTERN = "^(none|default|file:[A-Za-z0-9][A-Za-z0-9._-]{0,99})$"
MODULE_PATTERN = "^[A-Za-z0-9_]+(\\.[A-Za-z0-9_]+)*$"
MAX_MODULES = 100
MAX_MODULE_LENGTH = 200


def _check_name(name: str) -> str:
    if name not in NAMES:
        raise PydanticCustomError(
            "unknown_classifier",
            "must be {prefix}<name> with one of torchvision's classifiers: {names}",
            {"prefix": PREFIX, "names": ", ".join(CLASSIFIERS)},
        )
    return name


def _check_weights(text: str) -> str:
    if not re.fullmatch(WEIGHTS_PATTERN.strip("^$"), text, flags=re.ASCII):
        raise PydanticCustomError(
            "weights_format",
            "must be none, default or file:<name>, the name of a file in the folder weights of "
            "the data directory",
        )
    return text


def _check_trainable(value: Any) -> Any:
    if value in ("all", "head") or (isinstance(value, list) and _are_modules(value)):
        return value
    raise PydanticCustomError(
        "trainable_format",
        "must be all, head or a list of 1 to {maximum} names of modules, as in layer4",
        {"maximum": MAX_MODULES},
    )


def _are_modules(names: list[Any]) -> bool:
    return 1 <= len(names) <= MAX_MODULES and all(
        isinstance(name, str)
        and len(name) <= MAX_MODULE_LENGTH
        and re.fullmatch(MODULE_PATTERN.strip("^$"), name, flags=re.ASCII)
        for name in names
    )


class TorchvisionClassifier(ArchitectureParameters):
    """A classifier of torchvision, by its name there: `torchvision:resnet18`.

    Its last layer has the classes of the dataset. For gray images, the weights of its first
    convolution are summed over the colors: the result is that of the image in gray RGB. Auxiliary
    heads of Inception and GoogLeNet are left out.
    """

    name: Annotated[str, Field(json_schema_extra={"enum": NAMES}), AfterValidator(_check_name)]
    weights: Annotated[
        str, Field(json_schema_extra={"pattern": WEIGHTS_PATTERN}), AfterValidator(_check_weights)
    ] = "none"
    """Weights that training starts from: `none` for random ones, torchvision's `default`, or
    `file:<name>`, a state dict in `weights` of the data directory. The last layer is random unless
    it has as many classes there."""
    trainable: Annotated[
        str | list[str],
        BeforeValidator(_check_trainable),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "enum": ["all", "head"]},
                    {
                        "type": "array",
                        "items": {"type": "string", "pattern": MODULE_PATTERN},
                        "minItems": 1,
                        "maxItems": MAX_MODULES,
                    },
                ]
            }
        ),
    ] = "all"
    """What is trained: `all`, the `head`, which is the last layer, or modules by their names, as in
    `layer4`. Frozen modules stay in evaluation mode."""

    @property
    def classifier(self) -> str:
        """The name at torchvision."""
        return self.name.removeprefix(PREFIX)

    @property
    def _family(self) -> str:
        return re.split(r"[\d_]", self.classifier)[0]

    def unfit_reason(self, image_shape: tuple[int, int, int]) -> str | None:
        """Sides too small for the network's pooling, or no multiples of its patches."""
        depth, height, width = image_shape
        if depth not in (1, 3):
            return "needs gray or color images"
        if self._family == "vit":
            patch = int(self.classifier.rpartition("_")[2])
            if height != width or height % patch:
                return f"needs square images whose side is a multiple of {patch}"
        if self._family == "maxvit" and (height % MAXVIT_SIDE or width % MAXVIT_SIDE):
            return f"needs images whose sides are multiples of {MAXVIT_SIDE}"
        return minimum_side_reason(image_shape, MINIMUM_SIDES.get(self._family, 1))

    def build(self, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
        """The network for images (D, H, W), D 1 or 3. Raises ValueError for other images."""
        from torchvision.models import get_model

        self.require_fit(image_shape)
        options = self._options(image_shape)
        network: nn.Module = get_model(
            self.classifier, weights=None, num_classes=classes, **options
        )
        if image_shape[0] == 1:
            _sum_over_colors(network)
        return network

    def _options(self, image_shape: tuple[int, int, int]) -> dict[str, Any]:
        depth, height, width = image_shape
        if self._family == "vit":
            return {"image_size": height}
        if self._family == "maxvit":
            return {"input_size": (height, width)}
        if self._family in ("googlenet", "inception"):
            # torchvision's weights expect colors in the scale of the original implementation.
            has_own_scale = self.weights != "none" and depth == 3
            scale = {"transform_input": has_own_scale}
            return {"aux_logits": False, "init_weights": self.weights == "none"} | scale
        return {}

    def initialize(
        self, network: nn.Module, image_shape: tuple[int, int, int], weights_folder: Path | None
    ) -> None:
        """Load the weights. Raises WeightsUnavailable."""
        if self.weights == "none":
            return
        tensors = self.read_weights(weights_folder)
        first, last = _first_convolution(network), head_name(network)
        weight = tensors.get(f"{first}.weight")
        if image_shape[0] == 1 and weight is not None and weight.dim() == 4:
            tensors = tensors | {f"{first}.weight": weight.sum(1, keepdim=True)}
        load_tensors(network, tensors, (f"{last}.", *AUXILIARY_HEADS))

    def read_weights(self, weights_folder: Path | None) -> dict[str, Tensor]:
        """The tensors of the weights by name, none if random. Raises WeightsUnavailable."""
        source, _, name = self.weights.partition(":")
        match source:
            case "file":
                return read_weights_file(name, weights_folder)
            case "default":
                return read_torchvision_weights(self.classifier, weights_folder)
        return {}

    def freeze(self, network: nn.Module) -> None:
        """Turn off gradients outside the trainable modules. Raises ValueError for unknown ones."""
        if self.trainable == "all":
            return
        modules = [head_name(network)] if self.trainable == "head" else list(self.trainable)
        names = [name for name, _ in network.named_parameters()]
        for module in modules:
            if not any(name == module or name.startswith(f"{module}.") for name in names):
                available = ", ".join(name for name, _ in network.named_children())
                raise ValueError(
                    f"architecture.trainable: {self.name} has no parameters in {module}; its "
                    f"modules are {available}"
                )
        prefixes = tuple(f"{module}." for module in modules)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(f"{name}.".startswith(prefixes))


def _layers(network: nn.Module) -> list[str]:
    """Names of the convolutions and linear layers."""
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]


def _first_convolution(network: nn.Module) -> str:
    return _layers(network)[0]


def head_name(network: nn.Module) -> str:
    """Name of the last layer, which gives the pre-activations in all of these networks."""
    return _layers(network)[-1]


def _sum_over_colors(network: nn.Module) -> None:
    """Replace the first convolution by one for gray images, with the sum of its weights."""
    name = _first_convolution(network)
    color = network.get_submodule(name)
    if not isinstance(color, nn.Conv2d):
        raise TypeError("not a convolution")
    gray = nn.Conv2d(
        1,
        color.out_channels,
        color.kernel_size,  # type: ignore[arg-type]
        stride=color.stride,  # type: ignore[arg-type]
        padding=color.padding,  # type: ignore[arg-type]
        bias=color.bias is not None,
    )
    with torch.no_grad():
        gray.weight.copy_(color.weight.sum(1, keepdim=True))
        if gray.bias is not None and color.bias is not None:
            gray.bias.copy_(color.bias)
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, gray)
