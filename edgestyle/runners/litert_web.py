"""LiteRT.js in Chromium without a window, on wasm and WebGPU: opens any `.tflite` style file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgestyle.browser import chromium
from edgestyle.browser.protocol import Delegate
from edgestyle.browser.tab import Tab, probe
from edgestyle.runner import Image, Placement, Runner
from edgestyle.runners import litert_gpu
from edgestyle.runners.litert_cpu import LiteRtSession
from edgestyle.runners.litert_cpu import open_file as open_on_cpu

FULL = "fully accelerated: true"
"""What the page writes into the log where LiteRT.js has given the delegate everything."""


@dataclass(frozen=True)
class LiteRtWebSession(LiteRtSession):
    """A TFLite file opened in a browser; LiteRT on the CPU has read what it takes."""

    tab: Tab
    delegate: Delegate

    def bind(self, image: Image) -> Callable[[], object]:
        """What returns the seconds by the page's own clock, which leaves out the way from here to there."""
        return partial(self.tab.seconds, self.path, self.delegate, self.encode(image), self.code)

    def placement(self) -> Placement | None:
        return read_placement(self.tab.log(self.path, self.delegate), super().placement())

    def _call(self, value: NDArray[Any]) -> NDArray[Any]:
        return self.tab.run(self.path, self.delegate, value, self.code)


def open_file(path: Path, delegate: Delegate) -> LiteRtWebSession:
    """Open a TFLite style file in a browser of its own.

    Raises:
        ConfigError: It is not a TFLite file, or not one picture in and one picture out.
        MissingExtraError: ai-edge-litert is not installed.
        UnavailableError: There is no Chromium, or the browsers' runtimes are not installed.
    """
    opened = open_on_cpu(path)
    return LiteRtWebSession(**vars(opened), tab=Tab(), delegate=delegate)


def read_placement(log: Sequence[str], on_cpu: Placement | None) -> Placement | None:
    """Where the ops are, by what LiteRT.js says while it opens a file; None if it does not say.

    Args:
        log: Its lines.
        on_cpu: Of the same file, for the number of ops: LiteRT.js counts them only where it leaves some out.
    """
    if FULL in log and on_cpu:
        return Placement(on_cpu.total, on_cpu.total, 1)
    return litert_gpu.read_placement("\n".join(log))


WASM = Runner(
    name="litert-web-wasm",
    title="LiteRT.js in Chromium on the CPU (WebAssembly)",
    hardware="cpu",
    suffixes=(".tflite",),
    probe=partial(probe, "tflite", "ai_edge_litert"),
    open=partial(open_file, delegate="wasm"),
)
WEBGPU = Runner(
    name="litert-web-webgpu",
    title="LiteRT.js in Chromium on WebGPU",
    hardware="gpu",
    suffixes=(".tflite",),
    probe=partial(probe, "tflite", "ai_edge_litert"),
    open=partial(open_file, delegate="webgpu"),
    emulated=chromium.SOFTWARE_GPU,
)
