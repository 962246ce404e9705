"""Right or wrong, and there or elsewhere: the two facts that every result states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgestyle import metrics
from edgestyle.errors import CheckError
from edgestyle.gates import Gate
from edgestyle.images import Image
from edgestyle.metrics import Metrics
from edgestyle.runner import Placement
from edgestyle.validation.opened import Opened
from edgestyle.validation.references import Subject

if TYPE_CHECKING:
    from edgestyle.perceptual import PerceptualNetwork

_SLACK = 0.5
"""A picture further outside of [0, 1] than this was made for another range."""


def judge(
    subject: Subject, gate: Gate, opened: Opened, expected: Sequence[Image], network: PerceptualNetwork | None
) -> tuple[str, Metrics | None]:
    """Hold what a delegate made of a file against its gate.

    Args:
        subject: The file.
        gate: What it must reach.
        opened: What the delegate found and painted.
        expected: What it should have painted.
        network: For the metrics that need one.

    Returns:
        Why it failed, "" if it passed; and the worst of each metric, None where nothing could be measured.
    """
    measured = None
    try:
        _check_contract(subject, opened)
        pairs = zip(opened.pictures, expected, strict=True)
        measured = metrics.worst(_measure(actual, wanted, network) for actual, wanted in pairs)
        wrong = gate.missed(measured.psnr_db, measured.ssim)
    except CheckError as error:
        wrong = str(error)
    fell_back = _fallback(opened.placement) if gate.resident else ""
    if wrong and fell_back:
        return f"wrong, and fell back: {wrong}; {fell_back}", measured
    if fell_back:
        return f"right but fell back: {fell_back}", measured
    if wrong:
        return f"{'delegated but wrong' if gate.resident else 'wrong'}: {wrong}", measured
    return "", measured


def _check_contract(subject: Subject, opened: Opened) -> None:
    """Refuse a file that is not what its manifest promises.

    Raises:
        CheckError: With what differs.
    """
    if opened.size != subject.size:
        raise CheckError(f"it takes {_text(opened.size)}, its manifest says {_text(subject.size)}")
    if subject.contract and opened.contract:
        inside, beside = _flat(opened.contract.model_dump()), _flat(subject.contract.model_dump())
        for key in beside | inside:
            if inside.get(key) != beside.get(key):
                raise CheckError(f"the file itself says {key} = {inside.get(key)}, its manifest {beside.get(key)}")


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """A contract's values by "input.range" and the like."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {above + key: value}
    return flat


def _text(size: tuple[int, int] | None) -> str:
    return f"{size[0]}x{size[1]} (height x width)" if size else "any size"


def _measure(actual: Image, expected: Image, network: PerceptualNetwork | None) -> Metrics:
    low, high = actual.min(), actual.max()
    if np.isfinite(actual).all() and not -_SLACK <= low <= high <= 1 + _SLACK:
        raise CheckError(f"its values go from {low:.3g} to {high:.3g}, not from 0 to 1: it was made for another range")
    return metrics.measure(actual, expected, network)


def _fallback(placement: Placement | None) -> str:
    """What ran elsewhere; "" if nothing did, as far as is known."""
    if placement is None or placement.resident:
        return ""
    elsewhere = placement.total - placement.delegated
    kinds = f" ({', '.join(placement.fallback_ops)})" if placement.fallback_ops else ""
    return f"{elsewhere} of {placement.total} operations ran elsewhere{kinds}"
