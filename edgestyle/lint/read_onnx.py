"""An ONNX file as a graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestyle.errors import ConfigError, MissingExtraError
from edgestyle.lint.graph import Graph, Op, Tensor

if TYPE_CHECKING:
    import onnx

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Under this key torch's exporter notes the modules that a node comes from, outermost first."""
_FORMS = {"kernel_shape": "window", "strides": "stride", "dilations": "dilation"}


def read(path: Path) -> Graph:
    """An ONNX file's main graph, without what every runtime computes once when it opens the file.

    Its `source` is the same graph as an `onnx.ModelProto` with all shapes inferred.

    Raises:
        ConfigError: It is not an ONNX file, or a damaged one.
        MissingExtraError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "onnx") from error
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # protobuf's own type changes with its version
        why = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path} is not an ONNX file, or a damaged one; copy or export it again ({why})") from error
    return _Reader(model).graph()


class _Reader:
    """Turns ONNX's objects into ours."""

    def __init__(self, model: onnx.ModelProto) -> None:
        from onnx import numpy_helper

        self.model = model
        graph = model.graph
        self.tensors = {info.name: _tensor(info) for info in (*graph.value_info, *graph.input, *graph.output)}
        for initializer in graph.initializer:
            self._constant(initializer.name, numpy_helper.to_array(initializer))

    def graph(self) -> Graph:
        from onnx import numpy_helper

        kept, nodes = [], []
        for node in self.model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self._constant(node.output[0], numpy_helper.to_array(node.attribute[0].t))
            elif self._folds(node):
                for name in node.output:
                    known = self.tensors.get(name, Tensor(name, None, ""))
                    self.tensors[name] = replace(known, constant=True)
            else:
                kept.append(self._op(node))
                nodes.append(node)
        return Graph(tuple(kept), self._without_folded(nodes))

    def _folds(self, node: onnx.NodeProto) -> bool:
        """Whether a runtime computes it once: from constants alone, or from a shape that is known."""
        inputs = [self.tensors.get(name) for name in node.input if name]
        if node.op_type == "Shape" and inputs[0] and inputs[0].shape and None not in inputs[0].shape:
            return True
        return all(tensor and tensor.constant for tensor in inputs)

    def _without_folded(self, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        made = {name for node in self.model.graph.node for name in node.output}
        left = {name for node in nodes for name in node.output}
        for name in sorted(made - left):
            model.graph.initializer.add(name=name)  # only its name counts for whoever looks at the graph
        return model

    def _op(self, node: onnx.NodeProto) -> Op:
        from onnx import helper

        inputs = tuple(self.tensors.get(name, Tensor(name, None, "")) if name else None for name in node.input)
        outputs = tuple(self.tensors.get(name, Tensor(name, None, "")) for name in node.output if name)
        attributes = {a.name: _text(helper.get_attribute_value(a)) for a in node.attribute}
        attributes |= {ours: tuple(attributes[theirs]) for theirs, ours in _FORMS.items() if theirs in attributes}
        return Op(
            type=node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}:{node.op_type}",
            name=node.name or node.output[0],
            inputs=inputs,
            outputs=outputs,
            attributes=attributes,
            layer=_layer(node, inputs),
        )

    def _constant(self, name: str, value: Any) -> None:
        self.tensors[name] = Tensor(name, value.shape, str(value.dtype), True, value)


def _layer(node: onnx.NodeProto, inputs: tuple[Tensor | None, ...]) -> str:
    """The module path of a node: from the exporter's note, the name of its weights, or a name like "/trunk/0/Conv"."""
    notes = {prop.key: prop.value for prop in node.metadata_props}
    if _SCOPES in notes:
        import ast

        scopes: list[str] = ast.literal_eval(notes[_SCOPES])
        return scopes[-2] if len(scopes) > 1 else ""  # the last is the node itself
    for tensor in inputs:
        if tensor and tensor.constant and tensor.name.endswith((".weight", ".bias")):
            return tensor.name.rpartition(".")[0]
    if node.name.startswith("/"):
        return ".".join(node.name.split("/")[1:-1])
    return ""


def _tensor(info: onnx.ValueInfoProto) -> Tensor:
    from onnx import helper

    kind = info.type.tensor_type
    shape = None
    if kind.HasField("shape"):
        shape = tuple(side.dim_value if side.HasField("dim_value") else None for side in kind.shape.dim)
    dtype = str(helper.tensor_dtype_to_np_dtype(kind.elem_type)) if kind.elem_type else ""
    return Tensor(info.name, shape, dtype)


def _text(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
