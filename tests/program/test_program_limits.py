"""Programs that take too much are refused in little time and memory."""

import json
import time
import tracemalloc

import pytest
from camreel.program import InvalidProgram, Program
from camreel.program.parsing import MAX_BYTES, MAX_STEPS

from tests.program.documents import (
    document_with,
    receive,
    valid_document,
)


def assert_refused_cheaply(content):
    """In at most 5 s, with memory tracing, which slows Python down several times, and 300 MiB."""
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(InvalidProgram):
        Program.from_json(content)
    seconds = time.process_time() - start
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 5
    assert peak_bytes < 300 * 2**20


def test_program_of_a_million_steps_is_refused():
    step = {"operator": "relu", "arguments": {"input": {"value": 0}}, "shape": []}
    text = json.dumps(document_with("steps", []))
    steps = ",".join([json.dumps(step)] * 10**6)
    assert_refused_cheaply(text.replace('"steps": []', f'"steps": [{steps}]').encode())


def test_as_many_steps_as_fit_into_the_bytes_are_refused():
    step = '{"operator":"relu","arguments":{"input":{"value":0}},"shape":[]}'
    text = json.dumps(document_with("steps", []))
    steps = ",".join([step] * (MAX_STEPS + 1))
    content = text.replace('"steps": []', f'"steps": [{steps}]').encode()
    assert len(content) < MAX_BYTES
    assert_refused_cheaply(content)


@pytest.mark.parametrize("bracket", ["[", '{"a":'])
def test_deep_nesting_is_refused(bracket):
    assert_refused_cheaply((bracket * (MAX_BYTES // len(bracket) - 1)).encode())


def test_many_small_objects_are_refused():
    assert_refused_cheaply(("[" + "{}," * (MAX_BYTES // 3 - 3) + "{}]").encode())


def test_values_of_10_to_the_12_elements_are_refused():
    document = valid_document()
    document["steps"][2:2] = [
        {
            "operator": "repeat",
            "arguments": {"input": {"value": 2}, "repeats": [1, 1, 10**5, 10**5]},
            "shape": [{"batch": 1}, 2, 6 * 10**5, 6 * 10**5],
        }
    ]
    document["steps"][3]["arguments"]["input"] = {"value": 3}
    document["steps"][4]["arguments"]["input"] = {"value": 4}
    document["output"]["logits"] = 5
    with pytest.raises(InvalidProgram, match=r"steps\.2: .*elements"):
        receive(document)


def test_tensors_of_10_to_the_12_elements_are_refused():
    with pytest.raises(InvalidProgram, match=r"tensors\.0\.shape"):
        receive(document_with("tensors.0.shape", [10**6, 10**6]))


def test_many_values_that_stay_alive_are_refused():
    document = valid_document()
    size = [{"batch": 1}, 2, 4096, 4096]
    values = range(3, 13)
    repeats = [
        {
            "operator": "interpolate",
            "arguments": {"input": {"value": 2}, "size": [4096, 4096], "mode": "nearest"},
            "shape": size,
        }
        for _ in values
    ]
    concatenation = {
        "operator": "cat",
        "arguments": {"tensors": [{"value": value} for value in values], "dim": 1},
        "shape": [{"batch": 1}, 20, 4096, 4096],
    }
    document["steps"][2:2] = [*repeats, concatenation]
    document["steps"][-2]["arguments"]["input"] = {"value": 13}
    document["steps"][-1]["arguments"]["input"] = {"value": 14}
    document["output"]["logits"] = 15
    with pytest.raises(InvalidProgram, match="alive"):
        receive(document)


def test_program_of_too_many_operations_is_refused():
    """400 products of matrices of 1000 x 1000 in each of three channels."""
    document = document_with("input", [3, 1000, 1000])
    document["steps"] = [
        {
            "operator": "matmul",
            "arguments": {"input": {"value": index}, "other": {"value": 0}},
            "shape": [{"batch": 1}, 3, 1000, 1000],
        }
        for index in range(400)
    ]
    document["steps"].append(
        {
            "operator": "mean",
            "arguments": {"input": {"value": 400}, "dims": [2, 3]},
            "shape": [{"batch": 1}, 3],
        }
    )
    document["output"] = {"logits": 401, "classes": 3, "activation": "identity"}
    with pytest.raises(InvalidProgram, match=r"steps\.333: .*operations"):
        receive(document)


def test_sizes_that_overflow_are_refused():
    document = valid_document()
    size = 2**31 - 1
    document["steps"][1] = {
        "operator": "expand",
        "arguments": {
            "input": {"tensor": "fc.weight"},
            "shape": [size, size, size, 4, 2],
        },
        "shape": [size, size, size, 4, 2],
    }
    with pytest.raises(InvalidProgram, match=r"steps\.1"):
        receive(document)


def test_attention_over_a_million_tokens_is_refused():
    """Its operands and its result are small, the scores in between are not."""
    document = valid_document()
    tokens = [{"batch": 1}, 2, 2**20, 1]
    document["steps"][1:] = [
        {
            "operator": "interpolate",
            "arguments": {"input": {"value": 1}, "size": [1024, 1024], "mode": "nearest"},
            "shape": [{"batch": 1}, 2, 1024, 1024],
        },
        {
            "operator": "reshape",
            "arguments": {"input": {"value": 2}, "shape": tokens},
            "shape": tokens,
        },
        {
            "operator": "scaled_dot_product_attention",
            "arguments": {name: {"value": 3} for name in ("query", "key", "value")},
            "shape": tokens,
        },
        {
            "operator": "mean",
            "arguments": {"input": {"value": 4}, "dims": [2, 3]},
            "shape": [{"batch": 1}, 2],
        },
    ]
    document["output"]["logits"] = 5
    document["output"]["classes"] = 2
    with pytest.raises(InvalidProgram, match=r"steps\.3: .*alive"):
        receive(document)
