"""Operators that move elements without computing."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor

from camreel.program.opset.operator import (
    DIM,
    DIMENSION,
    GROUPS,
    INPUT,
    MAX_KERNEL,
    SHAPE,
    Operator,
)
from camreel.program.parameters import (
    Choice,
    Dimensions,
    Flag,
    Integer,
    Integers,
    Number,
    Optional,
    Parameter,
    Tensorial,
    Tensorials,
)


def _expand(signal: Tensor, shape: Sequence[int]) -> Tensor:
    return signal.expand(*shape)


def _repeat(signal: Tensor, repeats: Sequence[int]) -> Tensor:
    return signal.repeat(*repeats)


def _slice(signal: Tensor, dim: int, start: int | None, end: int | None, step: int) -> Tensor:
    result: Tensor = torch.ops.aten.slice.Tensor(signal, dim, start, end, step)
    return result


def _index(signal: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    return signal[tuple(slice(None) if index is None else index for index in indices)]


def _interpolate(signal: Tensor, size: list[int], mode: str, align_corners: bool) -> Tensor:
    corners = align_corners if mode in ("linear", "bilinear", "bicubic") else None
    return F.interpolate(signal, size=size, mode=mode, align_corners=corners)


_START = Parameter("start", Optional(Integer()), None)
_END = Parameter("end", Optional(Integer()), None)
_STEP = Parameter("step", Integer(1), 1)

SHAPES = (
    Operator("reshape", "reshape.default", (INPUT, SHAPE), torch.reshape),
    Operator(
        "permute", "permute.default", (INPUT, Parameter("dims", Integers(-8, 7))), torch.permute
    ),
    Operator(
        "transpose",
        "transpose.int",
        (INPUT, Parameter("dim0", DIMENSION), Parameter("dim1", DIMENSION)),
        torch.transpose,
    ),
    Operator("expand", "expand.default", (INPUT, SHAPE), _expand),
    Operator("repeat", "repeat.default", (INPUT, Parameter("repeats", Dimensions())), _repeat),
    Operator(
        "slice",
        "slice.Tensor",
        (INPUT, Parameter("dim", DIMENSION, 0), _START, _END, _STEP),
        _slice,
    ),
    Operator("select", "select.int", (INPUT, DIM, Parameter("index", Integer())), torch.select),
    Operator(
        "cat",
        "cat.default",
        (Parameter("tensors", Tensorials()), Parameter("dim", DIMENSION, 0)),
        torch.cat,
    ),
    Operator(
        "stack",
        "stack.default",
        (Parameter("tensors", Tensorials()), Parameter("dim", DIMENSION, 0)),
        torch.stack,
    ),
    Operator(
        "pad",
        "pad.default",
        (
            INPUT,
            Parameter("pad", Integers(-MAX_KERNEL, MAX_KERNEL, 2, 8)),
            Parameter("mode", Choice(("constant", "reflect", "replicate", "circular")), "constant"),
            Parameter("value", Optional(Number()), None),
        ),
        F.pad,
    ),
    Operator(
        "roll",
        "roll.default",
        (INPUT, Parameter("shifts", Integers()), Parameter("dims", Integers(-8, 7))),
        torch.roll,
    ),
    Operator("flip", "flip.default", (INPUT, Parameter("dims", Integers(-8, 7))), torch.flip),
    Operator(
        "index",
        "index.Tensor",
        (INPUT, Parameter("indices", Tensorials(or_null=True))),
        _index,
    ),
    Operator(
        "index_select",
        "index_select.default",
        (INPUT, DIM, Parameter("index", Tensorial())),
        torch.index_select,
    ),
    Operator(
        "slice_scatter",
        "slice_scatter.default",
        (
            INPUT,
            Parameter("src", Tensorial()),
            Parameter("dim", DIMENSION, 0),
            _START,
            _END,
            _STEP,
        ),
        torch.slice_scatter,
    ),
    Operator(
        "select_scatter",
        "select_scatter.default",
        (INPUT, Parameter("src", Tensorial()), DIM, Parameter("index", Integer())),
        torch.select_scatter,
    ),
    Operator(
        "pixel_shuffle",
        "pixel_shuffle.default",
        (INPUT, Parameter("upscale_factor", Integer(1, MAX_KERNEL))),
        F.pixel_shuffle,
    ),
    Operator(
        "pixel_unshuffle",
        "pixel_unshuffle.default",
        (INPUT, Parameter("downscale_factor", Integer(1, MAX_KERNEL))),
        F.pixel_unshuffle,
    ),
    Operator(
        "channel_shuffle",
        "channel_shuffle.default",
        (INPUT, GROUPS),
        torch.channel_shuffle,
    ),
    Operator(
        "interpolate",
        "upsample_bilinear2d.vec",
        (
            INPUT,
            Parameter("size", Integers(1, 2**16, 1, 2)),
            Parameter("mode", Choice(("nearest", "bilinear", "bicubic"))),
            Parameter("align_corners", Flag(), default=False),
        ),
        _interpolate,
    ),
)
