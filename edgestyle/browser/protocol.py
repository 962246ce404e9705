"""What the server and the page tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Engine = Literal["onnxruntime-web", "litert"]
Delegate = Literal["wasm", "webgpu", "webnn"]
ENGINES: dict[str, Engine] = {".onnx": "onnxruntime-web", ".tflite": "litert"}
"""Which runtime opens a file."""
Code = NDArray[np.float32] | None
"""What a transformer is to paint by, (1, length); None for other files."""
DELEGATES: tuple[Delegate, ...] = ("wasm", "webgpu", "webnn")


class Message(BaseModel):
    """What a page posts."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Adapter(Message):
    """A graphics adapter, as WebGPU describes it."""

    name: str
    software: bool
    """It is emulated on the CPU."""


class DeviceInfo(Message):
    """What a device says of itself."""

    name: str = Field(max_length=200)
    """For people: "Pixel 8, Chrome 142"."""
    user_agent: str = Field(max_length=1000)
    cores: int | None
    memory_gb: float | None
    """As far as the browser tells; it rounds, and stops at 8."""
    secure: bool
    """Without a secure page there is neither WebGPU nor WebNN, and only one thread."""
    isolated: bool
    """Threads, and a clock of 5 microseconds instead of 100."""
    adapter: Adapter | None
    webnn: bool


class Actual(Message):
    """What a job really ran on."""

    runtime: str
    threads: int | None
    adapter: Adapter | None
    log: tuple[str, ...] = ()
    """What the runtime said while it opened the file."""


class Result(Message):
    """What came of a job; "unavailable" if the browser lacks the delegate, "partial" if the page was left meanwhile."""

    status: Literal["done", "failed", "partial", "unavailable"]
    error: str = ""
    actual: Actual | None = None
    init_ms: Milliseconds | None = None
    """From the file's bytes in memory to a network ready to run; the runtime itself was loaded before."""
    first_ms: Milliseconds | None = None
    """First run: compiles shaders, packs weights."""
    warmup_ms: tuple[Milliseconds, ...] = ()
    samples_ms: tuple[Milliseconds, ...] = ()
    """Each from the input in memory to the output in memory."""
    output_type: str = ""
    output_dims: tuple[int, ...] = ()


@dataclass(frozen=True)
class Job:
    """One thing for a device to do."""

    file: Path
    engine: Engine
    delegate: Delegate
    input: NDArray[Any]
    """As the file takes it."""
    task: Literal["run", "time", "place"]
    """Run once on the network opened before, and time it; open afresh and time many runs; open and tell of the log."""
    code: Code = None
    output: bool = False
    """Whether the output is wanted."""
    warmup: int = 0
    samples: int = 1
    limit_s: float = 60
    """No further run is begun after this."""

    def describe(self, number: int) -> dict[str, Any]:
        """The job as the page gets it."""
        return {
            "id": number,
            "name": self.file.name,
            "model": f"models/{number}/{self.file.name}",
            "input": {"url": f"inputs/{number}", "type": self.input.dtype.name, "dims": self.input.shape},
            "code": None if self.code is None else self.code[0].tolist(),
            **{key: getattr(self, key) for key in ("engine", "delegate", "task", "output", "warmup", "samples")},
            "limit_ms": self.limit_s * 1000,
        }
