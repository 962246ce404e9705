"""Drawings of measurements, as SVG that takes its colours from the page and is the same for the same numbers.

Colours are CSS variables of `page.css` with a fallback, so a plot is right in light and dark. No meaning is in colour
alone: every line has a marker of its own, and every description gives the numbers in words.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgestyle.errors import MissingExtraError
from edgestyle.report.document import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 6.0  # inches; text of 11 points then stays readable on a phone, and is not huge on a desk
_ROW = 0.66
_FONT = 11.0

# Colours that matplotlib is given, and what stands in the SVG in their place.
_COLOURS = {
    "#000001": "var(--ink, #1c2127)",
    "#000002": "var(--soft, #59616b)",
    "#000003": "var(--line, #dfdbd3)",
    "#000004": "var(--paper, #fbfaf7)",
    "#000005": "var(--passed, #17703f)",
    "#000006": "var(--failed, #b02318)",
    "#000011": "var(--series-1, #1d4f7c)",
    "#000012": "var(--series-2, #b4501e)",
    "#000013": "var(--series-3, #2f7d5b)",
    "#000014": "var(--series-4, #7b4a94)",
    "#000015": "var(--series-5, #8a6d12)",
    "#000016": "var(--series-6, #a83265)",
}
_INK, _SOFT, _LINE, _PAPER, _GOOD, _BAD, *_SERIES = _COLOURS
_MARKERS = "osD^vPX*"

_STYLE: Any = {
    "axes.edgecolor": _SOFT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": _SOFT,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",  # for the layout; the page's own font is narrower
    "font.size": _FONT,
    "grid.color": _LINE,
    "legend.frameon": False,
    "path.simplify": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "edgestyle",  # else ids are random
    "text.color": _INK,
    "text.parse_math": False,  # a name may hold a $
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "ytick.major.size": 0,
}


@dataclass(frozen=True)
class Runs:
    """How long one thing took, again and again, in milliseconds."""

    label: str
    ms: Sequence[float]
    """At least one."""
    p50: float
    p90: float | None
    """None of too few runs."""


@dataclass(frozen=True)
class Ratio:
    """A latency in proportion to the baseline's."""

    label: str
    ratio: float
    """New median by old: above 1 is slower."""
    low: float
    """Lower end of its 95 % confidence interval."""
    high: float
    verdict: str
    """ "slower", "faster", or anything else where neither is proven."""


@dataclass(frozen=True)
class Work:
    """What one picture of a size costs."""

    megapixels: float
    ms: float
    peak_mb: float | None = None


@dataclass(frozen=True)
class Achieved:
    """How fast a network computes, and how much of that it does with each byte."""

    label: str
    intensity: float
    """Floating-point operations by byte moved to or from memory."""
    gflops: float


def distribution(rows: Sequence[Runs]) -> Plot:
    """Latencies: every raw sample as a dot, with the median and the 90th percentile.

    Args:
        rows: One an artifact (and delegate).
    """

    def draw(figure: Figure) -> None:
        figures = [f"p50 {_number(r.p50)}{'' if r.p90 is None else f' · p90 {_number(r.p90)}'} ms" for r in rows]
        axes = _rows(figure, [(r.label, figure) for r, figure in zip(rows, figures, strict=True)])
        for row, r in enumerate(rows):
            _dots(axes, r.ms, row)
            axes.plot([r.p50, r.p50], [row - 0.2, row + 0.2], color=_INK, linewidth=2.5, solid_capstyle="butt")
            if r.p90 is not None:
                axes.plot(r.p90, row + 0.28, marker="^", color=_INK, markersize=5)
        every = np.concatenate([np.asarray(r.ms, dtype=float) for r in rows])
        if every.min() > 0 and every.max() > 8 * every.min():
            _log(axes, "x")
        else:
            axes.set_xlim(0, every.max() * 1.04)
        axes.set_xlabel("milliseconds; line: median, triangle: 90th percentile, dots: runs")

    words = [
        f"{r.label}: median {_number(r.p50)} ms, "
        f"{'' if r.p90 is None else f'90th percentile {_number(r.p90)} ms, '}{len(r.ms)} runs"
        for r in rows
    ]
    return _plot("Latency of every run", _sentences(words), _rows_height(len(rows)), draw)


def against_baseline(ratios: Sequence[Ratio], threshold: float) -> Plot:
    """Ratios to the baseline with their confidence intervals, around the band in which a change is let pass.

    Args:
        ratios: One an artifact (and delegate).
        threshold: Smallest change that matters, as a fraction: 0.1 lets pass 1 / 1.1 to 1.1.
    """
    top = 1 + threshold
    looks = {"slower": (_BAD, ">"), "faster": (_GOOD, "<")}

    def draw(figure: Figure) -> None:
        axes = _rows(figure, [(r.label, f"{_number(r.ratio)}, {r.verdict}") for r in ratios])
        for row, r in enumerate(ratios):
            colour, marker = looks.get(r.verdict, (_SOFT, "o"))
            axes.fill_between([1 / top, top], row - 0.22, row + 0.22, color=_LINE, linewidth=0)
            axes.plot([1, 1], [row - 0.22, row + 0.22], color=_SOFT)
            axes.plot([r.low, r.high], [row, row], color=colour, linewidth=2.5, solid_capstyle="round")
            axes.plot(r.ratio, row, marker=marker, color=colour, markersize=8)
        reach = max([top, *(r.high for r in ratios), *(1 / r.low for r in ratios)]) ** 1.1
        axes.set_xlim(1 / reach, reach)
        if reach > 2:
            _log(axes, "x")
        axes.set_xlabel(f"time by the baseline's, 95 % interval; band: within {100 * threshold:g} %")

    words = [
        f"{r.label}: {_number(r.ratio)} times the baseline's time ({_number(r.low)} to {_number(r.high)}), {r.verdict}"
        for r in ratios
    ]
    return _plot("Against the baseline", _sentences(words), _rows_height(len(ratios)), draw)


def scaling(costs: Mapping[str, Sequence[Work]]) -> Plot:
    """Time, and peak memory where it is known, against the size of the picture; both axes logarithmic.

    Args:
        costs: The sizes measured, by artifact (and delegate), smallest first.
    """
    panels: list[tuple[str, Callable[[Work], float | None]]] = [("milliseconds", lambda work: work.ms)]
    if any(work.peak_mb is not None for works in costs.values() for work in works):
        panels.append(("peak memory, MB", lambda work: work.peak_mb))

    def draw(figure: Figure) -> None:
        for index, (title, value) in enumerate(panels):
            axes = figure.add_subplot(len(panels), 1, index + 1)
            for (label, works), look in zip(costs.items(), _looks(), strict=False):
                known = [(work.megapixels, y) for work in works if (y := value(work)) is not None]
                axes.plot([x for x, _ in known], [y for _, y in known], label=label, **look)
            _log(axes, "xy")
            axes.set_title(title, loc="left", fontsize=_FONT, color=_SOFT)
        axes.set_xlabel("megapixels")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower left")

    words = [
        f"{label}: {', '.join(f'{_number(w.ms)} ms at {_number(w.megapixels)} MP' for w in works)}"
        for label, works in costs.items()
    ]
    return _plot("Cost by size", _sentences(words), 2.5 * len(panels) + _legend_height(len(costs)), draw)


def roofline(points: Sequence[Achieved], peak_gflops: float, bandwidth: float) -> Plot:
    """How near networks come to what the machine can do (Williams et al. 2009, "Roofline").

    Args:
        points: The networks measured.
        peak_gflops: Fastest arithmetic measured on this machine, GFLOP/s.
        bandwidth: Fastest memory traffic measured on this machine, GB/s.
    """

    def roof(intensity: float) -> float:
        return min(peak_gflops, bandwidth * intensity)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        ridge = peak_gflops / bandwidth
        every = [ridge, *(point.intensity for point in points)]
        ends = [min(every) / 3, ridge, max(every) * 3]
        axes.plot(ends, [roof(x) for x in ends], color=_SOFT, linewidth=2)
        axes.text(ends[-1], peak_gflops * 1.08, f"{_number(peak_gflops)} GFLOP/s", ha="right", va="bottom", color=_SOFT)
        middle = (ends[0] * ridge) ** 0.5
        axes.text(middle * 1.1, roof(middle) / 1.1, f"{_number(bandwidth)} GB/s", va="top", color=_SOFT)
        for point, look in zip(points, _looks(), strict=False):
            axes.plot(point.intensity, point.gflops, label=point.label, **{**look, "linestyle": "none"})
        _log(axes, "xy")
        axes.set_ylim(min(roof(ends[0]), *(point.gflops for point in points)) / 1.5, peak_gflops * 1.8)
        axes.set_title("GFLOP/s", loc="left", fontsize=_FONT, color=_SOFT)
        axes.set_xlabel("arithmetic intensity: FLOP by byte of memory traffic")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left")

    words = [
        f"{p.label}: {_number(p.gflops)} GFLOP/s at {_number(p.intensity)} FLOP by byte, "
        f"{100 * p.gflops / roof(p.intensity):.0f} % of what this machine can do there"
        for p in points
    ]
    return _plot("How far from the machine's limits", _sentences(words), 3.2 + _legend_height(len(points)), draw)


# Drawing -------------------------------------------------------------------------------------------


def _plot(title: str, description: str, height: float, draw: Callable[[Figure], None]) -> Plot:
    try:
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        missing = MissingExtraError("matplotlib", "report")
        return Plot(title, "", f"{description} (Not drawn: {missing}.)")
    svg = StringIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # letters that its font lacks; the browser's has them
        figure = Figure((_WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        figure.savefig(
            svg, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    return Plot(title, _themed(svg.getvalue()), description)


def _themed(svg: str) -> str:
    """The `svg` element alone, with the page's colours and font, without ids that another plot has too."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub("#0000[0-9a-f]{2}", lambda match: _COLOURS.get(match[0], match[0]), svg)
    svg = re.sub(r"'DejaVu Sans'(, '[^']*')*(, sans-serif)?", "system-ui, sans-serif", svg)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # in a page it would style everything else too
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    return re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", svg)


def _rows(figure: Figure, texts: Sequence[tuple[str, str]]) -> Axes:
    """Axes with a row for each pair of texts, which stand above the row at its left and right end."""
    axes = figure.add_subplot()
    axes.set_ylim(len(texts) - 0.5, -0.65)
    axes.set_yticks([])
    axes.grid(visible=False)
    look: Any = {"transform": axes.get_yaxis_transform(), "va": "center"}
    for row, (left, right) in enumerate(texts):
        axes.axhline(row, color=_LINE)
        axes.text(0, row - 0.4, _shortened(left), **look)
        axes.text(1, row - 0.4, right, ha="right", color=_SOFT, **look)
    return axes


def _dots(axes: Axes, values: Sequence[float], row: int) -> None:
    """A dot for each value, spread in height so that many of the same can be seen; all in one path, to be small."""
    heights = row + 0.3 * (np.arange(len(values)) * 0.618034 % 1 - 0.5)
    x = np.repeat(np.asarray(values, dtype=float), 3)
    y = np.repeat(heights, 3)
    x[2::3] = np.nan
    axes.plot(x, y, color=_SERIES[0], linewidth=4, solid_capstyle="round", alpha=0.55)


def _looks() -> Iterator[dict[str, Any]]:
    """Colour, marker and line style of one line after another; none of them repeats within 24."""
    for index in itertools.count():
        yield {
            "color": _SERIES[index % len(_SERIES)],
            "marker": _MARKERS[index % len(_MARKERS)],
            "linestyle": ("-", "--", ":")[index // len(_SERIES) % 3],
            "linewidth": 2,
            "markersize": 7,
        }


def _log(axes: Axes, names: Literal["x", "y", "xy"]) -> None:
    """Make axes logarithmic, with plain numbers at 1, 2 and 5, or at powers of ten where there is much to span."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    for name in names:
        getattr(axes, f"set_{name}scale")("log")
        axis = axes.xaxis if name == "x" else axes.yaxis
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 200 * low else (1,)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _rows_height(rows: int) -> float:
    return 0.75 + _ROW * rows


def _legend_height(lines: int) -> float:
    return 0.21 * lines


# Words ---------------------------------------------------------------------------------------------


def _number(value: float) -> str:
    """Three significant digits, never in powers of ten."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def _sentences(words: Sequence[str]) -> str:
    return "\n".join(f"{text}." for text in words)


def _shortened(label: str, longest: int = 40) -> str:
    """The label, its middle left out where it is too long: names differ at their ends."""
    return label if len(label) <= longest else f"{label[: longest // 2 - 1]}…{label[-(longest // 2) :]}"
