"""onnxruntime-web in Chromium without a window, on wasm and WebGPU: opens any `.onnx` style file."""

from __future__ import annotations

import re
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
from edgestyle.runners.onnxruntime_cpu import OnnxSession
from edgestyle.runners.onnxruntime_cpu import open_file as open_on_cpu

_PROVIDERS = {"wasm": "CPUExecutionProvider", "webgpu": "WebGpuExecutionProvider"}


@dataclass(frozen=True)
class OnnxWebSession(OnnxSession):
    """An ONNX file opened in a browser; ONNX Runtime on the CPU has read what it takes."""

    tab: Tab
    delegate: Delegate

    def bind(self, image: Image) -> Callable[[], object]:
        """What returns the seconds by the page's own clock, which leaves out the way from here to there."""
        return partial(self.tab.seconds, self.path, self.delegate, self.encode(image), self.code)

    def placement(self) -> Placement | None:
        return read_placement(self.tab.log(self.path, self.delegate), self.provider)

    def _call(self, value: NDArray[Any]) -> NDArray[Any]:
        return self.tab.run(self.path, self.delegate, value, self.code)


def open_file(path: Path, delegate: Delegate) -> OnnxWebSession:
    """Open an ONNX style file in a browser of its own.

    Raises:
        ConfigError: It is not an ONNX file, or not one picture in and one picture out.
        MissingExtraError: onnxruntime is not installed.
        UnavailableError: There is no Chromium, or the browsers' runtimes are not installed.
    """
    opened = open_on_cpu(path)
    return OnnxWebSession(**{**vars(opened), "provider": _PROVIDERS[delegate]}, tab=Tab(), delegate=delegate)


def read_placement(log: Sequence[str], provider: str) -> Placement | None:
    """Where the nodes are, from ONNX Runtime's verbose log; None if it does not say.

    Nodes on the delegate are run one by one, and a picture is brought back to it after each stretch of others: that
    many pieces there are, and one more.
    """
    counts: dict[str, int] = {}
    nodes: dict[str, list[str]] = {}
    current = ""
    for line in log:
        text = re.sub(r"^.*VerifyEachNodeIsAssignedToAnEp\] ", "", line)
        if found := re.match(r" *(?:All nodes|Node\(s\)) placed on \[(\w+)\]\. Number of nodes: (\d+)", text):
            current = found[1]
            counts[current] = int(found[2])
        elif current and text != line and (named := re.match(r" *(\w+) \(", text)):
            nodes.setdefault(current, []).append(named[1])
    if not counts:
        return None
    elsewhere = {name for where, names in nodes.items() if where != provider for name in names}
    returns = nodes.get(provider, []).count("MemcpyFromHost")
    return Placement(sum(counts.values()), counts.get(provider, 0), 1 + returns, tuple(sorted(elsewhere)))


WASM = Runner(
    name="onnxruntime-web-wasm",
    title="onnxruntime-web in Chromium on the CPU (WebAssembly)",
    hardware="cpu",
    suffixes=(".onnx",),
    probe=partial(probe, "onnx", "onnxruntime"),
    open=partial(open_file, delegate="wasm"),
)
WEBGPU = Runner(
    name="onnxruntime-web-webgpu",
    title="onnxruntime-web in Chromium on WebGPU",
    hardware="gpu",
    suffixes=(".onnx",),
    probe=partial(probe, "onnx", "onnxruntime"),
    open=partial(open_file, delegate="webgpu"),
    emulated=chromium.SOFTWARE_GPU,
)
