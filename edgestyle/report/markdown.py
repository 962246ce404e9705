"""A report as GitHub-flavoured Markdown, fit for a job summary and a pull request's comment."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from edgestyle.manifest import Status
from edgestyle.report.document import Cell, Document, Figure, Plot, Section, Strip, Table

MARKS: dict[Status, str] = {"passed": "✅", "failed": "❌", "could not run": "⚪"}

_FOLD_ROWS = 20
"""A table of more rows is folded: a comment is read between others."""


def render(document: Document, address: Callable[[Figure], str] | None = None) -> str:
    """The report as Markdown.

    Args:
        document: The report.
        address: Gives the URL or relative path under which a picture can be had. Without it the pictures are only
            named: neither a job summary nor a comment can carry them.
    """
    lines = [f"# {_escape(document.title)}", "", f"{_verdict(document.passed)}{_escape(document.lead)}", ""]
    for section in document.sections:
        lines += _section(section, address)
    if document.facts:
        rows = [(Cell(name), Cell(value)) for name, value in document.facts]
        lines += _folded("Measured on", [_row(["", ""]), "|---|---|", *map(_cells, rows)])
    return "\n".join(lines).rstrip() + "\n"


def _verdict(passed: bool | None) -> str:
    if passed is None:
        return ""
    return f"{MARKS['passed']} **Passed.** " if passed else f"{MARKS['failed']} **Failed.** "


def _section(section: Section, address: Callable[[Figure], str] | None) -> list[str]:
    lines = [f"## {_escape(section.title)}", ""]
    for paragraph in re.split(r"\n\s*\n", section.text.strip()):
        lines += [*map(_line, paragraph.splitlines()), ""] if paragraph else []
    for block in section.blocks:
        if isinstance(block, Table):
            lines += _table(block)
        elif isinstance(block, Strip):
            lines += _strip(block, address)
        else:
            lines += _plot(block)
    return lines


def _table(table: Table) -> list[str]:
    rule = "|" + "|".join("---:" if column.numeric else "---" for column in table.columns) + "|"
    lines = [_row([_escape(column.title) for column in table.columns]), rule, *map(_cells, table.rows)]
    if len(table.rows) > _FOLD_ROWS:
        return _folded(f"{table.title or 'Table'} ({len(table.rows)} rows)", lines)
    title = [f"**{_escape(table.title)}**", ""] if table.title else []
    return [*title, *lines, ""]


def _strip(strip: Strip, address: Callable[[Figure], str] | None) -> list[str]:
    captions = [_escape(figure.caption) for figure in strip.figures]
    if address is None:
        return [f"**{_escape(strip.title)}**: {', '.join(captions)} (pictures in the HTML report)", ""]
    pictures = [f"![{_escape(figure.caption)}](<{address(figure)}>)" for figure in strip.figures]
    return [f"**{_escape(strip.title)}**", "", _row(captions), "|" + "---|" * len(captions), _row(pictures), ""]


def _plot(plot: Plot) -> list[str]:
    return [f"**{_escape(plot.title)}**", "", *(f"- {_escape(line)}" for line in plot.description.splitlines()), ""]


def _folded(summary: str, lines: Sequence[str]) -> list[str]:
    return ["<details>", f"<summary>{_escape(summary)}</summary>", "", *lines, "", "</details>", ""]


def _cells(cells: Sequence[Cell]) -> str:
    return _row([f"{MARKS[cell.status]} {_escape(cell.text)}" if cell.status else _escape(cell.text) for cell in cells])


def _row(texts: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(text.split()) for text in texts) + " |"


def _line(text: str) -> str:
    """A line of a paragraph, which begins neither a heading nor a list."""
    return re.sub(r"^(\d*)(?=[-+#=]|[.)]\s)", r"\1\\", _escape(text.strip()))


def _escape(text: str) -> str:
    """Plain text that Markdown shows as it is. Underscores inside words, as in great_wave, mean nothing to GitHub."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|~])", r"\\\1", text)
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
