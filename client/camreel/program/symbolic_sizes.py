"""Sizes that torch.export knows as expressions, in terms of the number of images."""

from typing import Any

from camreel.program.references import BatchMultiple, Dimension


class BatchDependence(Exception):
    """The graph depends on the number of images in a way that programs do not have."""


def dimension_of(size: Any) -> Dimension:
    """An int or SymInt as a dimension.

    Raises BatchDependence for expressions that are no multiple of the number of images.
    """
    if isinstance(size, int):
        return size
    expression = size.node.expr
    if expression.is_number:
        return int(expression)
    symbols = list(expression.free_symbols)
    if len(symbols) != 1:
        raise BatchDependence
    factors = [expression.subs(symbols[0], images) / images for images in (2, 3, 5)]
    if len(set(factors)) != 1 or not factors[0].is_integer:
        raise BatchDependence
    return BatchMultiple(int(factors[0]))
