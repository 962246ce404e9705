"""TFLite: the format of LiteRT (TensorFlow Lite) on Android, and of its delegates for GPU and NPU."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestyle import tflite_model
from edgestyle.errors import MissingExtraError
from edgestyle.manifest import CODE, METADATA_KEY, Contract
from edgestyle.quiet import quiet
from edgestyle.runner import installed
from edgestyle.target import Target, image_spec

if TYPE_CHECKING:
    from torch import nn


_PACKAGE = re.compile(rb"(?<![^/;])[\w.]+\.(?=[A-Z])")
"""In a tensor's name, the package of each module on the path to its layer: `edgestyle.feedforward.`ResidualBlock_2."""


def write(net: nn.Module, contract: Contract, path: Path) -> None:
    """Write `net` as one TFLite file with channel-last pictures and the signature `serving_default`.

    Args:
        net: Network in deploy form.
        contract: Says the size and the names of input and output; stands as JSON in the file's metadata.
        path: The `.tflite` file to write.

    Raises:
        MissingExtraError: litert-torch is not installed.
    """
    with quiet():
        try:
            import litert_torch
        except ImportError as error:
            raise MissingExtraError("litert-torch", "tflite") from error
        import torch

        from .tflite_dialect import ChannelLast, dialect, register_lowerings

        register_lowerings()
        picture = torch.zeros(tuple(int(side) for side in contract.input.shape))
        code = [torch.zeros(1, contract.code.length)] if contract.code and contract.role == "transformer" else []
        content = litert_torch.convert(ChannelLast(dialect(net)).eval(), (picture, *code)).model_content()
    path.write_bytes(_describe(content, contract))


def _describe(content: bytes, contract: Contract) -> bytes:
    """Give input and output the names that the contract promises, and put the contract into the file's metadata."""
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    model = tflite_model.read(content)
    model.description = contract.description
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    _shorten_names(graph.tensors)
    names = [contract.input.name, CODE]  # the converter calls the inputs args_0 and args_1
    inputs = sorted(signature.inputs, key=lambda end: end.name)
    for end, name in (*zip(inputs, names, strict=False), (signature.outputs[0], contract.output.name)):
        end.name = graph.tensors[end.tensorIndex].name = name
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(contract.model_dump_json().encode(), np.uint8)
    entry.name, entry.buffer = METADATA_KEY, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata.append(entry)
    return tflite_model.pack(model)


def _shorten_names(tensors: list[Any]) -> None:
    """Leave out packages and, where a name joins the modules of several ops by ";", all but the first and the last.

    The first is the module whose result it is, the last the one that has weights. Names stay different.
    """
    taken: set[bytes] = set()
    for tensor in tensors:
        whole = _PACKAGE.sub(b"", tensor.name)
        modules = [part for part in whole.split(b";") if b"/" in part]
        short = b";".join(dict.fromkeys((*modules[:1], *modules[-1:]))) if modules else whole
        number = 0
        while (name := short + b";%d" % number if number else short) in taken:
            number += 1
        tensor.name = name
        taken.add(name)


TARGET = Target(
    name="tflite",
    title="TFLite",
    suffix=".tflite",
    spec=partial(image_spec, layout="NHWC"),
    runner="litert-cpu",
    native_runner=None,
    native=("fp32",),
    default_scheme="fp32",
    dynamic=False,
    probe=partial(installed, "tflite", "litert_torch", "ai_edge_litert"),
    tools=("litert-torch", "ai-edge-litert"),
    write=write,
)
