"""Checks as JUnit XML, which every CI system shows as tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from edgestyle.report.document import Case

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(name: str, cases: Sequence[Case]) -> str:
    """The XML of all `cases`, in suites in the order in which they first appear.

    What could not run is a skipped test, with the reason as its message; a reason with several lines stands whole
    in the element's text.

    Args:
        name: What was run, e.g. "edgestyle validate".
        cases: The checks.
    """
    suites: dict[str, list[Case]] = {}
    for case in cases:
        suites.setdefault(case.suite, []).append(case)
    root = ElementTree.Element("testsuites", {"name": _clean(name), **_counts(cases)})
    for suite, members in suites.items():
        skipped = str(sum(case.status == "could not run" for case in members))
        attributes = {"name": _clean(suite), **_counts(members), "skipped": skipped}
        parent = ElementTree.SubElement(root, "testsuite", attributes)
        for case in members:
            _append(parent, case)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _append(parent: ElementTree.Element, case: Case) -> None:
    attributes = {"classname": _clean(case.suite), "name": _clean(case.name), "time": f"{case.seconds:.3f}"}
    element = ElementTree.SubElement(parent, "testcase", attributes)
    if case.status == "passed":
        return
    reason = _clean(case.reason) or case.status
    message = {"message": reason.strip().splitlines()[0]}
    if case.status == "failed":
        ElementTree.SubElement(element, "failure", {**message, "type": "CheckError"}).text = reason
    else:
        ElementTree.SubElement(element, "skipped", message).text = reason


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    return {
        "tests": str(len(cases)),
        "failures": str(sum(case.status == "failed" for case in cases)),
        "errors": "0",
        "time": f"{sum(case.seconds for case in cases):.3f}",
    }


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold, such as a crashed runtime's control codes."""
    return _NOT_XML.sub("", text)
