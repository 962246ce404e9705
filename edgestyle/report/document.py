"""What a report consists of, before it is HTML or Markdown: commands build it, the files beside this one write it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgestyle.images import Image
from edgestyle.manifest import Status


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    numeric: bool = False
    """Aligned to the right and sorted by number."""
    hint: str = ""
    """What the column means, in a sentence; shown under the table and when pointed at."""


@dataclass(frozen=True)
class Cell:
    """One value as it is shown."""

    text: str
    sort: float | None = None
    """What a numeric column sorts by; None (not measured) goes last."""
    status: Status | None = None
    """Coloured accordingly, and never by colour alone: the text says it too."""


@dataclass(frozen=True)
class Table:
    """Rows that the reader can sort by any column."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    """Needed where a section has several tables."""


@dataclass(frozen=True)
class Figure:
    """One picture with its caption."""

    picture: Image
    """(1, 3, H, W) RGB in [0, 1]."""
    caption: str


@dataclass(frozen=True)
class Strip:
    """Pictures to compare, side by side: photo, float, exported, difference."""

    title: str
    figures: Sequence[Figure]


@dataclass(frozen=True)
class Plot:
    """A drawing, as SVG."""

    title: str
    svg: str
    """Empty where it could not be drawn; `description` then says why."""
    description: str
    """What it shows, a sentence a line, for those that cannot see it, and in Markdown."""


@dataclass(frozen=True)
class Section:
    """A part of a report."""

    title: str
    text: str = ""
    """Paragraphs, set apart by empty lines."""
    blocks: Sequence[Table | Strip | Plot] = ()


@dataclass(frozen=True)
class Document:
    """A report."""

    title: str
    passed: bool | None
    """The verdict; None where there is none to give."""
    lead: str
    """What was checked and how it went, in a sentence or two."""
    sections: Sequence[Section]
    facts: Sequence[tuple[str, str]] = ()
    """What the results stand on, by name: machine, versions, date. Shown at the end."""


@dataclass(frozen=True)
class Case:
    """One check, for JUnit XML."""

    suite: str
    name: str
    status: Status
    reason: str = ""
    seconds: float = 0.0
