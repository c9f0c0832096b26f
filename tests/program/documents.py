"""A program and its tensors, written by hand, and variants of them."""

import copy
import json

import torch
from camreel.program import Program
from camreel.program.shapes import check_shapes


def valid_document():
    """A convolution, ReLU, pooling and a linear layer, written by hand."""
    return {
        "format": 1,
        "opset": 1,
        "input": [3, 8, 8],
        "batch": "dynamic",
        "steps": [
            {
                "operator": "conv2d",
                "arguments": {"input": {"value": 0}, "weight": {"tensor": "conv.weight"}},
                "shape": [{"batch": 1}, 2, 6, 6],
            },
            {
                "operator": "relu",
                "arguments": {"input": {"value": 1}},
                "shape": [{"batch": 1}, 2, 6, 6],
            },
            {
                "operator": "mean",
                "arguments": {"input": {"value": 2}, "dims": [2, 3]},
                "shape": [{"batch": 1}, 2],
            },
            {
                "operator": "linear",
                "arguments": {"input": {"value": 3}, "weight": {"tensor": "fc.weight"}},
                "shape": [{"batch": 1}, 4],
            },
        ],
        "tensors": [
            {"name": "conv.weight", "dtype": "float32", "shape": [2, 3, 3, 3]},
            {"name": "fc.weight", "dtype": "float32", "shape": [4, 2]},
        ],
        "modules": [{"name": "relu", "value": 2}],
        "default_layer": "relu",
        "output": {"logits": 4, "classes": 4, "activation": "identity"},
    }


def valid_tensors():
    return {"conv.weight": torch.ones(2, 3, 3, 3), "fc.weight": torch.ones(4, 2)}


def receive(document):
    """What a server does with a program before it stores it."""
    program = Program.from_json(json.dumps(document).encode())
    check_shapes(program)
    return program


def document_with(path, content):
    """The valid document with another content at a path such as `steps.0.operator`."""
    document = copy.deepcopy(valid_document())
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    target = document
    for key in parents:
        target = target[key]
    target[last] = content
    return document


def with_tensor(name, tensor):
    return {**valid_tensors(), name: tensor}
