"""LiteRT's reference kernels: plain loops, op by op, which every other LiteRT delegate is meant to agree with.

Slow: they are for finding out whether a picture is wrong because of the file or because of the delegate.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edgestyle.runner import Placement, Runner, installed
from edgestyle.runners.litert_cpu import LiteRtSession
from edgestyle.runners.litert_cpu import open_file as open_on_cpu


class ReferenceSession(LiteRtSession):
    """A TFLite file opened without any delegate."""

    def placement(self) -> Placement:
        total = len(self.interpreter._get_ops_details())
        return Placement(total, total, 1)


def open_file(path: Path) -> ReferenceSession:
    """Open a TFLite style file.

    Raises:
        ConfigError: It is not a TFLite file, or not one picture in and one picture out.
        MissingExtraError: ai-edge-litert is not installed.
    """
    return ReferenceSession(**vars(open_on_cpu(path, kernels="BUILTIN_REF")))


RUNNER = Runner(
    name="litert-reference",
    title="LiteRT's reference kernels on the CPU",
    hardware="cpu",
    suffixes=(".tflite",),
    probe=partial(installed, "tflite", "ai_edge_litert"),
    open=open_file,
)
