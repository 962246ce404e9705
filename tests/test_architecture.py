"""Imports point one way. Read from the source, because a type checker does not see the mapped folders."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "edgestyle"
MAPPED = ("export", "quantize", "models", "demo_apps")
"""Folders that plug into the core: edgestyle.export and so on."""
HEAVY = {
    "ai_edge_litert",
    "ai_edge_quantizer",
    "av",
    "coremltools",
    "jax",
    "litert_torch",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "onnxruntime_qnn",
    "onnxscript",
    "pillow_heif",
    "segno",
    "tensorboard",
    "tensorflow",
    "torchao",
    "transformers",
}
"""What is imported only inside the functions that need it."""
SOURCES = sorted(
    path
    for folder in ("edgestyle", *MAPPED)
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)


def imports(tree: ast.AST, inside_functions: bool = True) -> Iterator[str]:
    """Modules that a file imports, in full; relative ones with their dots. Not those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield module
            yield from (f"{module}{'' if module.endswith('.') else '.'}{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from (name for branch in node.orelse for name in imports(branch, inside_functions))
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imports(node, inside_functions)


def imports_of(path: Path, inside_functions: bool = True) -> set[str]:
    return set(imports(ast.parse(path.read_text(encoding="utf-8")), inside_functions))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_reader_of_imports_finds_them() -> None:
    source = """
import onnx.helper
from . import near
if TYPE_CHECKING:
    import hidden
try:
    from edgestyle.files import staged
except ImportError:
    pass
class A:
    import inner
    def f(self):
        import torch
"""
    at_the_top = {"onnx.helper", ".", ".near", "edgestyle.files", "edgestyle.files.staged", "inner"}
    assert set(imports(ast.parse(source), inside_functions=False)) == at_the_top
    assert set(imports(ast.parse(source))) == at_the_top | {"torch"}


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_heavy_packages_are_imported_inside_functions(path: Path) -> None:
    at_the_top = {name.split(".")[0] for name in imports_of(path, inside_functions=False)}
    assert not at_the_top & HEAVY


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=relative)
def test_the_core_knows_no_mapped_folder(path: Path) -> None:
    names = imports_of(path)
    assert not {
        name for name in names for folder in MAPPED if f"{name}.".startswith((f"edgestyle.{folder}.", f"{folder}."))
    }


@pytest.mark.parametrize("folder", MAPPED)
def test_mapped_folders_import_the_core_and_themselves_only(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        for name in imports_of(path):
            assert not name.startswith(".."), f"{relative(path)} reaches out of its folder: {name}"
            assert name.split(".")[0] not in MAPPED, f"{relative(path)} imports a folder by its place: {name}"
            other = name.split(".")[1] if name.startswith("edgestyle.") else ""
            assert other not in MAPPED, f"{relative(path)}: import {name} relatively, or not at all"


@pytest.mark.parametrize("path", sorted((CORE / "cli").rglob("*.py")), ids=relative)
def test_the_command_line_loads_nothing_big(path: Path) -> None:
    at_the_top = {name.split(".")[0] for name in imports_of(path, inside_functions=False)}
    assert not at_the_top & {"numpy", "pydantic", "rich", "skimage", "torch", "PIL"}


@pytest.mark.parametrize("path", [path for path in SOURCES if "cli" not in path.parts], ids=relative)
def test_nobody_below_imports_the_command_line(path: Path) -> None:
    from_above = {name for name in imports_of(path) if f"{name}.".startswith("edgestyle.cli.")}
    assert not from_above or path.name == "__main__.py"


def test_functions_can_be_seen_whole() -> None:
    """No function is longer than 60 lines."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 60, f"{relative(path)}: {node.name} has {length} lines"
