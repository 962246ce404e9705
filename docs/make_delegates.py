"""Make the tables of docs/delegates.md: the rules, and how often they were right.

    python docs/make_delegates.py [--rules-only]

Without --rules-only it also converts networks that no phone will like, opens each file on every delegate that
works here, and compares (about ten minutes).
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgestyle import checkpoint, parts, registry
from edgestyle.exporting import export
from edgestyle.lint import lint_file
from edgestyle.lint.comparison import Comparison, compare
from edgestyle.lint.table import Rule, Table, tables
from edgestyle.quiet import quiet

PAGE = Path(__file__).with_name("delegates.md")
SIDE = 32
MODELS = "starry_night", "adain"
FORMATS = ("tflite", "fp32"), ("tflite", "fp16"), ("onnx", "fp32")
"""Of the zoo's networks: target and scheme."""


# Networks -------------------------------------------------------------------------------------------------------------


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.function(x)
        return result


class ChannelLast(nn.Module):
    """A network with pictures (B, H, W, 3) at both ends."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x.permute(0, 3, 1, 2))
        return y.permute(0, 2, 3, 1)


def between(*layers: nn.Module, stride: int = 1) -> nn.Module:
    """A convolution to 8 channels, what is in question, a convolution to a picture."""
    first = nn.Conv2d(3, 8, 3, stride, padding=1)
    return nn.Sequential(first, nn.ReLU(), *layers, nn.Conv2d(8, 3, 3, padding=1), nn.Sigmoid())


def networks() -> dict[str, nn.Module]:
    """What style networks are made of, and what not all delegates like."""
    backwards = torch.arange(SIDE - 1, -1, -1)
    clamp = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), Call(lambda x: x.clamp(0, 1)))
    sparse = Call(lambda x: x - nn.functional.avg_pool2d(x, 2, stride=8).mean((2, 3), keepdim=True))
    return {
        "convolutions only": between(),
        "reflection padding": between(nn.ReflectionPad2d(1), nn.Conv2d(8, 8, 3)),
        "replication padding 1": between(nn.ReplicationPad2d(1), nn.Conv2d(8, 8, 3)),
        "replication padding 2": between(nn.ReplicationPad2d(2), nn.Conv2d(8, 8, 5)),
        "nn.InstanceNorm2d": between(nn.InstanceNorm2d(8, affine=True)),
        "nn.GroupNorm": between(nn.GroupNorm(4, 8)),
        "transposed convolution": between(nn.ConvTranspose2d(8, 8, 4, 2, 1), stride=2),
        "clamp(0, 1) at the end": clamp,
        "nn.PixelShuffle": between(nn.Conv2d(8, 32, 1), nn.PixelShuffle(2), stride=2),
        "index tensor": between(Call(lambda x: x[:, :, backwards])),
        "nearest x2": between(nn.Upsample(scale_factor=2), stride=2),
        "bilinear x2": between(nn.Upsample(scale_factor=2, mode="bilinear"), stride=2),
        "bicubic x2": between(nn.Upsample(scale_factor=2, mode="bicubic"), stride=2),
        "pooling with gaps": between(sparse),
        "Mish": between(nn.Mish()),
        "GELU, ELU, PReLU": between(nn.GELU(), nn.ELU(), nn.PReLU(8)),
    }


def convert(net: nn.Module, folder: Path) -> Iterator[Path]:
    """The network as TFLite and as ONNX, by each format's own converter."""
    import litert_torch

    with quiet():
        path = folder / "net.tflite"
        litert_torch.convert(ChannelLast(net).eval(), (torch.rand(1, SIDE, SIDE, 3),)).export(str(path))
    yield path
    with quiet():
        path = folder / "net.onnx"
        program = torch.onnx.export(net.eval(), (torch.rand(1, 3, SIDE, SIDE),), dynamo=True, opset_version=18)
        assert program is not None  # noqa: S101  # for mypy: it is None only with the exporter of before dynamo
        program.save(path)
    yield path


def files() -> Iterator[tuple[str, Path]]:
    """Names and files, one after the other: each is gone once the next is asked for."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for model, (name, scheme) in product(MODELS, FORMATS):
            zoo, target = checkpoint.find(model), registry.load(registry.TARGETS, name)
            part = parts.by_example(zoo, target)
            yield f"{part.name}, {scheme}", export(zoo, target, (256, 256), folder, scheme, part=part).path
        for title, net in networks().items():
            for path in convert(net, folder):
                yield title, path


# Tables ---------------------------------------------------------------------------------------------------------------


def rules() -> str:
    """A table a delegate."""
    return "\n\n".join(map(_rules_of, tables()))


def _rules_of(table: Table) -> str:
    runners = ", ".join(f"`{name}`" for name in table.runners)
    otherwise = f"an op that it does not take: **{table.otherwise}**; [source]({table.source})"
    lines = [f"### {table.title}", "", f"{runners}; {otherwise}.", ""]
    if table.supported:
        lines += [f"Takes {', '.join(f'`{name}`' for name in table.supported)}.", ""]
    lines += ["| ops | only with | else | why | rewrite |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*lines, *(_row(table, rule) for rule in table.rule)])


def _row(table: Table, rule: Rule) -> str:
    ops = "every op" if "*" in rule.ops else ", ".join(f"`{name}`" for name in rule.ops)
    needs = "; ".join(f"{name.replace('_', ' ')}: {_value(value)}" for name, value in rule.needs.items())
    source = f" ([source]({rule.source}))" if rule.source else ""
    cells = (ops, needs or "-", rule.severity or table.otherwise, f"{rule.why}{source}", rule.rewrite)
    return f"| {' | '.join(cells)} |"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return "yes" if value is True else f"{value:g}" if isinstance(value, float) else str(value)


def predictions() -> str:
    """Every network on every delegate: what was expected, and what was seen."""
    lines = [
        "| network | delegate | expected off it | seen off it | pieces expected, seen | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    told = right = 0
    for title, path in files():
        for comparison in compare(path, lint_file(path)):
            if comparison.agrees is None:
                continue
            told, right = told + 1, right + comparison.agrees
            lines.append(_prediction(title, comparison))
    return "\n".join([f"{right} of {told} were right.", "", *lines])


def _prediction(title: str, comparison: Comparison) -> str:
    expected, seen = comparison.verdict.placement, comparison.seen
    off = [", ".join(f"`{op}`" for op in ops) for ops in (expected.fallback_ops, seen.fallback_ops if seen else ())]
    if seen is None:
        off[1] = comparison.reason
    pieces = f"{expected.partitions}, {seen.partitions if seen else '-'}"
    verdict = "right" if comparison.agrees else "**wrong**"
    return f"| {title} | {comparison.runner} | {off[0]} | {off[1]} | {pieces} | {verdict} |"


def put(name: str, text: str, page: str) -> str:
    """The page with `text` between its two marks."""
    pattern = rf"(<!-- {name} -->\n).*?(\n<!-- end of {name} -->)"
    return re.sub(pattern, lambda found: f"{found[1]}{text}{found[2]}", page, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules-only", action="store_true")
    rules_only = parser.parse_args().rules_only
    made = {"rules": rules()} if rules_only else {"rules": rules(), "predictions": predictions()}
    page = PAGE.read_text(encoding="utf-8")
    for name, text in made.items():
        page = put(name, text, page)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
