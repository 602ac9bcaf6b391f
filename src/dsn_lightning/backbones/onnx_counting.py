"""The multiply-adds of an ONNX network, from the shapes that its layers have in one run."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def count_onnx_macs(content: bytes, clips: NDArray[Any]) -> int:
    """Return the multiply-adds of an ONNX file for an input: those of convolutions and matrix products.

    Args:
        content: of the file, weights included.
        clips: the input.
    """
    import onnx
    import onnxruntime

    model = onnx.load_from_string(content)
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    shapes = {weight.name: tuple(weight.dims) for weight in model.graph.initializer}
    given = model.graph.input[0].name
    shapes[given] = clips.shape
    names = {name for layer in layers for name in (*layer.input[:2], layer.output[0])} - shapes.keys()
    wanted = sorted(names - {output.name for output in model.graph.output})
    model.graph.output.extend([onnx.ValueInfoProto(name=name) for name in wanted])
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # keeps all layers
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = session.run(sorted(names), {given: clips})
    shapes |= {name: np.shape(value) for name, value in zip(sorted(names), found, strict=True)}
    return sum(math.prod(shapes[layer.output[0]]) * _inner_length(layer, shapes) for layer in layers)


def _inner_length(layer: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    """Return how many products are added up for each number of a layer's output."""
    first, second = shapes[layer.input[0]], shapes[layer.input[1]]
    if layer.op_type == "Conv":
        return math.prod(second[1:])  # kernel (C_out, C_in / groups, ...)
    transposed = any(attribute.name == "transA" and attribute.i for attribute in layer.attribute)
    return first[0] if transposed else first[-1]
