"""The folder of a report: all of its files, or none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgestyle.errors import EdgestyleError, UsageError
from edgestyle.files import publish, staging
from edgestyle.report import html, junit, markdown
from edgestyle.report.document import Case, Document


def write(
    folder: Path,
    document: Document,
    result: Mapping[str, Any],
    cases: Sequence[Case],
    more: Mapping[str, str] | None = None,
) -> None:
    """Write index.html, report.md, report.json and junit.xml into `folder`, which is made if need be.

    Files of other names that are there stay. Everything is rendered and on the disk before the first file takes its
    place.

    Args:
        folder: Where to.
        document: The report.
        result: What the command's `--json` prints.
        cases: The checks, for junit.xml.
        more: Text of further files, by name.

    Raises:
        UsageError: `folder` is a file or may not be written to, or a folder stands where a file is to be.
        EdgestyleError: The disk is full.
    """
    texts = {
        "index.html": html.render(document),
        "report.md": markdown.render(document),
        "report.json": json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "junit.xml": junit.render(document.title, cases),
        **(more or {}),
    }
    with staging(folder) as stage:
        for name, text in texts.items():
            if (folder / name).is_dir():
                raise UsageError(f"{folder / name} is a folder; move it away or choose another folder for the report")
            try:
                (stage / name).write_text(text, encoding="utf-8", newline="\n")
            except OSError as error:
                raise EdgestyleError(f"cannot write {folder / name}: {error.strerror}; make room") from error
        for name in texts:
            publish(stage / name, folder / name)
