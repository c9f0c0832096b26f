"""Kinds of ATen overloads: whose results are their operands, or share memory with them."""

from typing import Any

WHOLE_SLICE_END = 2**63 - 1
"""The end of a slice without an end."""

FIRST_RESULTS = {
    "_native_batch_norm_legit_no_training.default",
    "native_layer_norm.default",
    "max_pool2d_with_indices.default",
    "adaptive_max_pool2d.default",
    "max.dim",
    "min.dim",
    "native_dropout.default",
}
"""Overloads with several results, of which programs have the first."""

PASS_THROUGH = {
    "contiguous.default",
    "clone.default",
    "alias.default",
    "lift_fresh_copy.default",
    "lift_fresh.default",
    "detach_.default",
    "dropout.default",
    "feature_dropout.default",
    "alpha_dropout.default",
    "feature_alpha_dropout.default",
    "native_dropout.default",
}
"""Overloads whose result equals their first argument in evaluation mode."""

COPIES = {"clone.default", "lift_fresh_copy.default", "contiguous.default"}
"""Those of which the result has memory of its own (a contiguous tensor may have)."""

VIEWS = {
    "view.default",
    "view_as.default",
    "reshape_as.default",
    "reshape.default",
    "flatten.using_ints",
    "unflatten.int",
    "squeeze.default",
    "squeeze.dim",
    "squeeze.dims",
    "unsqueeze.default",
    "expand.default",
    "expand_as.default",
    "permute.default",
    "transpose.int",
    "t.default",
    "numpy_T.default",
    "slice.Tensor",
    "select.int",
    "detach.default",
    "chunk.default",
    "split.Tensor",
    "split.sizes",
    "split_with_sizes.default",
    "unbind.int",
}
"""Overloads whose result may share memory with their first argument."""


def is_whole(arguments: dict[str, Any]) -> bool:
    """Whether a slice takes everything."""
    return (
        arguments["start"] in (None, 0)
        and arguments["end"] in (None, WHOLE_SLICE_END)
        and arguments["step"] == 1
    )
