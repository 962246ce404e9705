"""Style vectors: how much of each painting a network of several is to paint."""

from __future__ import annotations

from collections.abc import Sequence

from edgestyle.errors import UnknownNameError, UsageError
from edgestyle.manifest import Style


def parse(text: str, styles: Sequence[Style]) -> tuple[float, ...]:
    """Weights that add up to 1, one a painting, from what people write.

    Args:
        text: A name ("great_wave"), names with weights ("great_wave=2,the_scream=1"), or a weight for each painting in
            order ("2,1").
        styles: The network's paintings.

    Raises:
        UsageError: It is none of these, or the weights cannot be scaled to 1.
        UnknownNameError: There is no painting of that name; names the nearest.
    """
    names = [style.name for style in styles]
    parts = [part.strip() for part in text.split(",")]
    weights = dict.fromkeys(names, 0.0)
    if all(map(_is_number, parts)):
        if len(parts) != len(names):
            raise UsageError(f"{len(parts)} style weights for {len(names)} paintings; they are {', '.join(names)}")
        weights = dict(zip(names, map(float, parts), strict=True))
    else:
        for part in parts:
            name, _, weight = part.partition("=")
            if name not in weights:
                raise UnknownNameError("style", name, names)
            if weight and not _is_number(weight):
                raise UsageError(f"'{part}' is not a weight; write it as in {name}=0.5")
            weights[name] += float(weight or 1)
    total = sum(weights.values())
    if not (min(weights.values()) >= 0 and 0 < total < float("inf")):
        raise UsageError(f"style weights '{text}' must be 0 or more, and not all 0")
    return tuple(weight / total for weight in weights.values())


def describe(weights: Sequence[float], styles: Sequence[Style]) -> Style:
    """One painting as it is; a blend under a name of its own: "great_wave+the_scream"."""
    used = [(weight, style) for weight, style in zip(weights, styles, strict=True) if weight]
    if len(used) == 1:
        return used[0][1]
    title = ", ".join(f"{weight:.0%} {style.title}" for weight, style in used)
    return Style(name="+".join(style.name for _, style in used), title=title)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
