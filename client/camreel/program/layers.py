"""The layers of a program that maps can be computed for: values with positions on the image."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from camreel.program.channels import FIRST, LAST, channel_axes
from camreel.program.cut import image_values
from camreel.program.format import Program
from camreel.program.placement import GridPlacement, Placement, grid_placements
from camreel.program.references import BatchMultiple, Shape

MAX_PREFIX_TOKENS = 8
"""Class, distillation and register tokens before those of the patches."""


class Layout(StrEnum):
    """How a value (N, ...) holds K channels at H x W positions."""

    CHANNELS_FIRST = "channels-first"
    """(N, K, H, W)."""
    CHANNELS_LAST = "channels-last"
    """(N, H, W, K)."""
    TOKENS = "tokens"
    """(N, prefix + H W, K)."""


@dataclass(frozen=True)
class Grid:
    """K channels at H x W positions, in a value of a program."""

    layout: Layout
    channels: int
    height: int
    width: int
    prefix_tokens: int
    placement: GridPlacement | None
    """Vertical and horizontal; None if unknown: maps are then stretched over the image."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, H, W)."""
        return self.channels, self.height, self.width

    def maps_of(self, activations: Tensor) -> Tensor:
        """Activations as (N, K, H, W), without prefix tokens. A view; any leading size N."""
        if self.layout is Layout.CHANNELS_FIRST:
            return activations
        if self.layout is Layout.CHANNELS_LAST:
            return activations.permute(0, 3, 1, 2)
        tokens = activations[:, self.prefix_tokens :].transpose(1, 2)
        return tokens.reshape(*tokens.shape[:2], self.height, self.width)

    def activations_of(self, maps: Tensor, prefix: Tensor | None = None) -> Tensor:
        """The inverse of `maps_of`, of (N, K, H, W).

        `prefix` are activations (N, T, K) that the prefix tokens are taken from; None: zeros.
        """
        if self.layout is Layout.CHANNELS_FIRST:
            return maps
        if self.layout is Layout.CHANNELS_LAST:
            return maps.permute(0, 2, 3, 1)
        tokens = maps.flatten(2).transpose(1, 2)
        if not self.prefix_tokens:
            return tokens
        if prefix is None:
            shape = (len(maps), self.prefix_tokens, self.channels)
            return torch.cat([maps.new_zeros(shape), tokens], dim=1)
        return torch.cat([prefix[:, : self.prefix_tokens], tokens], dim=1)


@dataclass(frozen=True)
class Layer:
    """A value with a grid, by the names of the modules that return it."""

    name: str
    """The shortest."""
    aliases: tuple[str, ...]
    """The other names."""
    value: int
    shape: Shape
    """Of the value itself."""
    grid: Grid


def find_layers(program: Program) -> tuple[Layer, ...]:
    """The layers of a program, in the order of its steps."""
    grids = find_grids(program)
    names: dict[int, list[str]] = {}
    for call in program.modules:
        names.setdefault(call.value, []).append(call.name)
    return tuple(
        _layer(value, names[value], program, grid)
        for value in sorted(image_values(program) & set(names))
        if (grid := grids[value]) is not None
    )


def _layer(value: int, names: Sequence[str], program: Program, grid: Grid) -> Layer:
    name, *aliases = sorted(names, key=len)
    return Layer(name, tuple(aliases), value, program.shapes[value], grid)


def find_grids(program: Program) -> list[Grid | None]:
    """The grid of each value; None for values without positions."""
    axes = channel_axes(program)
    placements = grid_placements(program)
    grids: list[Grid | None] = []
    latest: dict[int, Grid] = {}  # by number of positions
    for value, shape in enumerate(program.shapes):
        grid = _grid(program, shape, axes[value], placements[value], latest)
        grids.append(grid)
        if grid is not None and grid.layout is not Layout.TOKENS:
            latest[grid.height * grid.width] = grid
    return grids


def _grid(
    program: Program,
    shape: Shape,
    axis: int | None,
    placement: Placement,
    latest: dict[int, Grid],
) -> Grid | None:
    batch = BatchMultiple(1) if program.batch == "dynamic" else 1
    sizes = [size for size in shape[1:] if isinstance(size, int)]
    if not axis or shape[:1] != (batch,) or len(sizes) != len(shape) - 1:
        return None
    if len(sizes) == 3:
        return _spatial_grid(sizes, axis, placement, latest)
    if len(sizes) == 2 and axis == LAST:
        return _token_grid(sizes, latest)
    return None


def _spatial_grid(
    sizes: Sequence[int], axis: int, placement: Placement, latest: dict[int, Grid]
) -> Grid | None:
    if axis == FIRST:
        channels, height, width = sizes
        layout = Layout.CHANNELS_FIRST
    else:
        height, width, channels = sizes
        layout = Layout.CHANNELS_LAST
    if height * width < 2:
        return None
    if placement is None:  # as the nearest grid below of the same size
        below = latest.get(height * width)
        if below is not None and (below.height, below.width) == (height, width):
            placement = below.placement
    grid_placement = placement if isinstance(placement, tuple) else None
    return Grid(layout, channels, height, width, 0, grid_placement)


def _token_grid(sizes: Sequence[int], latest: dict[int, Grid]) -> Grid | None:
    tokens, channels = sizes
    for prefix_tokens in range(MAX_PREFIX_TOKENS + 1):
        below = latest.get(tokens - prefix_tokens)
        if below is not None:
            return Grid(
                Layout.TOKENS,
                channels,
                below.height,
                below.width,
                prefix_tokens,
                below.placement,
            )
    return None
