"""How far an exported file may drift from the float network: the one table, by number format and delegate.

A gate holds for the worst of several photos. What others ask for when they compare an export with its source:

- Apple's coreai-models: PSNR of at least 40 dB; with 8 bits usually above 55, under 50 is looked into; with 4 bits 35.
- LiteRT's accuracy debugger: 35 dB. LiteRT's GPU check: 1e-4 at most and 1e-5 on average, which is over 80 dB.
- Qualcomm's qai-hub-models: 30 dB is "typically considered good".
- Hugging Face's Optimum: 1e-5 to 1e-3 absolute, and a warning only.

None is about style filters. Here 1 dB less is 12 % more error: at 70 dB no pixel changes in 8 bits; at 45 dB the error
is 1.4 of 255 levels (RMS) and cannot be seen side by side; at 36 dB it is 4 levels, seen when one flips between the
pictures; at 30 dB it is 8 levels, and strokes begin to look otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from edgestyle.runner import Runner

ANY = "any"
"""In overrides: every delegate."""


@dataclass(frozen=True)
class Gate:
    """What a file must reach on a delegate."""

    psnr_db: float
    """Smallest PSNR against the float network."""
    ssim: float
    """Smallest SSIM."""
    resident: bool
    """Whether every operation must run on the delegate."""
    reason: str

    def missed(self, psnr_db: float, ssim: float) -> str:
        """What a picture falls short in; "" if in nothing."""
        if psnr_db < self.psnr_db:
            return f"PSNR {psnr_db:.1f} dB is under the gate of {self.psnr_db:g} dB"
        if ssim < self.ssim:
            return f"SSIM {ssim:.4f} is under the gate of {self.ssim:g}"
        return ""


class Override(Protocol):
    """What holds instead of a gate of the table."""

    def apply(self, gate: Gate) -> Gate:
        """The gate that holds."""
        ...


Overrides: TypeAlias = Mapping[str, Mapping[str, Override]]
"""Delegate, or `ANY` -> scheme -> what holds instead: `[gate]` in edgestyle.toml."""
NO_OVERRIDES: Overrides = {}


@dataclass(frozen=True)
class Format:
    """The gates of a number format."""

    reached: Mapping[str, tuple[float, float]]
    """Kind of hardware, or a delegate that differs from its kind -> smallest PSNR in dB and SSIM."""
    reason: str


_CORE_ML_HALF = {"coreml-cpu": (45.0, 0.99), "coreml-evaluator": (45.0, 0.99)}

FORMATS: Mapping[str, Format] = {
    "fp32": Format(
        {"cpu": (70.0, 0.999), "gpu": (60.0, 0.999), "npu": (45.0, 0.99)},
        "the same sums in another order: CPUs reach 100 dB and more, GPUs shorten exp and rsqrt, NPUs compute in fp16",
    ),
    "fp16": Format(
        {"cpu": (55.0, 0.995), "gpu": (45.0, 0.99), "npu": (45.0, 0.99), **_CORE_ML_HALF},
        "CPUs round the weights alone (about 75 dB); elsewhere, and in all of Core ML, each result is rounded too",
    ),
    "int8-weights": Format(
        {"cpu": (42.0, 0.98), "gpu": (42.0, 0.98), "npu": (40.0, 0.98)},
        "weights in 255 steps a channel, which leaves about 50 dB; all arithmetic in floats",
    ),
    "int8-dynamic": Format(
        {"cpu": (36.0, 0.97), "gpu": (36.0, 0.97), "npu": (34.0, 0.95)},
        "as int8, but with ranges taken from each picture",
    ),
    "int8": Format(
        {"cpu": (36.0, 0.97), "gpu": (36.0, 0.97), "npu": (34.0, 0.95)},
        "activations in 256 steps; an NPU also rounds between its steps, at places of its own choice",
    ),
    "int8-a16": Format(
        {"cpu": (48.0, 0.99), "gpu": (45.0, 0.99), "npu": (45.0, 0.99)},
        "activations in 65536 steps, finer than fp16: what remains is the weights' rounding",
    ),
    "palette-8": Format(
        {"cpu": (40.0, 0.98), "gpu": (40.0, 0.98), "npu": (40.0, 0.98)},
        "256 shared values for the weights of a layer; all arithmetic in floats",
    ),
    "palette-6": Format(
        {"cpu": (34.0, 0.95), "gpu": (34.0, 0.95), "npu": (34.0, 0.95)},
        "64 shared values: the strokes stay, shades move",
    ),
    "palette-4": Format(
        {"cpu": (28.0, 0.85), "gpu": (28.0, 0.85), "npu": (28.0, 0.85)},
        "16 shared values: seen at once, and only to be chosen where size is all",
    ),
}

_UNKNOWN = Format(
    {"cpu": (34.0, 0.95), "gpu": (34.0, 0.95), "npu": (34.0, 0.95)},
    "the file does not say its number format; this is the gate of int8 on an NPU",
)

_RESIDENT = ("gpu", "npu")
"""Who takes an app's pictures through slow memory for each operation that it leaves to the CPU. On the CPU nothing is
moved: there XNNPACK leaving an operation to LiteRT's own kernels costs little."""


def find(scheme: str | None, runner: Runner, overrides: Overrides = NO_OVERRIDES) -> Gate:
    """The gate of a number format on a delegate.

    Args:
        scheme: A name in `FORMATS`; None, or another, where it is not known.
        runner: The delegate.
        overrides: Gates that differ from the table.
    """
    row = FORMATS.get(scheme or "", _UNKNOWN)
    psnr_db, ssim = row.reached.get(runner.name, row.reached[runner.hardware])
    gate = Gate(psnr_db, ssim, runner.hardware in _RESIDENT, row.reason)
    for delegate in (ANY, runner.name):
        override = overrides.get(delegate, {}).get(scheme or "")
        gate = override.apply(gate) if override else gate
    return gate


def lowest_psnr_db(scheme: str) -> float:
    """What a file of that format reaches on every delegate."""
    return min(psnr_db for psnr_db, _ in FORMATS.get(scheme, _UNKNOWN).reached.values())
