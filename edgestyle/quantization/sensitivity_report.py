"""Layers and the harm that their integers do, as a table, as JSON and as a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from edgestyle.exporting import size_text
from edgestyle.quantization.judging import Harm
from edgestyle.quantization.sensitivity import Sensitivity
from edgestyle.report.document import Cell, Column, Document, Section, Table

WHOLE = "all layers together"
BETWEEN = "(the network itself)"
"""What is computed between layers: sums, products, the sigmoid."""

_COLUMNS = (
    Column("layer in 8 bits"),
    Column("weights", numeric=True),
    Column("PSNR", numeric=True, hint="dB against the float network, the worst photo; higher is better."),
    Column("SSIM", numeric=True, hint="Structure; 1 is equal."),
    Column("style", numeric=True, hint="Drift of the texture; 0 is equal."),
    Column("content", numeric=True, hint="Drift of what is shown; 0 is equal."),
)


def table(ranked: Sequence[Sensitivity], whole: Harm) -> Table:
    """All layers together, then each alone, the most harmful first."""
    weights = sum(layer.weights for layer in ranked)
    rows = [_row(WHOLE, weights, whole)]
    rows += [_row(layer.layer or BETWEEN, layer.weights, layer.harm) for layer in ranked]
    return Table(_COLUMNS, rows)


def _row(layer: str, weights: int, harm: Harm) -> list[Cell]:
    return [
        Cell(layer),
        Cell(f"{weights:,}", weights),
        Cell(f"{harm.psnr_db:.1f}", harm.psnr_db),
        Cell(f"{harm.ssim:.4f}", harm.ssim),
        Cell(f"{harm.style_drift:.4f}", harm.style_drift),
        Cell(f"{harm.content_drift:.4f}", harm.content_drift),
    ]


def as_json(ranked: Sequence[Sensitivity], whole: Harm) -> dict[str, Any]:
    """What `--json` prints."""
    layers = [{"layer": layer.layer, "weights": layer.weights, **asdict(layer.harm)} for layer in ranked]
    return {"whole": asdict(whole), "layers": layers}


def document(model: str, size: tuple[int, int], ranked: Sequence[Sensitivity], whole: Harm) -> Document:
    """The report."""
    worst = ranked[0]
    return Document(
        title=f"Sensitivity of {model} to 8 bits",
        passed=None,
        lead=(
            f"At {size_text(size)}, all layers in int8 leave {whole.psnr_db:.1f} dB; the most harmful alone, "
            f"{worst.layer or BETWEEN}, {worst.harm.psnr_db:.1f} dB."
        ),
        sections=[Section("Layers", "One layer at a time in 8 bits, all others in floats.", [table(ranked, whole)])],
    )
