"""What durations were measured on: without it they mean nothing to anybody else."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from edgestyle import __version__, processors

_RUNTIMES = ("onnxruntime", "onnxruntime-qnn", "ai-edge-litert", "coremltools", "torch")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


class Machine(BaseModel):
    """A machine, and the state that it was in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str
    """ "Linux", "Darwin"."""
    architecture: str
    cpu: str
    """Its model, as the system names it; virtual machines may say little."""
    threads: int
    """Processors that this process may use; the runtimes start as many threads."""
    memory_mb: int | None
    governor: str | None
    """Of the CPU's frequency; None where the system does not tell, as in most virtual machines."""
    load: float | None
    """Processes that wanted to run in the minute before, on average; over `threads`, others were in the way."""
    versions: dict[str, str]
    """Of edgestyle, Python and the runtimes that are installed."""

    @property
    def busy(self) -> bool:
        """Whether others kept more than half of the processors busy before the first run."""
        return self.load is not None and self.load > self.threads / 2

    def differences(self, other: Machine) -> list[str]:
        """Why durations from `other` cannot be compared with those from this machine: what is not the same."""
        same = ("system", "architecture", "cpu", "threads", "governor")
        here, there = ({name: getattr(machine, name) for name in same} | machine.versions for machine in (self, other))
        return [
            f"{name} {there.get(name)}, here {here.get(name)}"
            for name in here | there
            if here.get(name) != there.get(name)
        ]


def describe() -> Machine:
    """This machine, now."""
    load: float | None = None
    with suppress(OSError):
        load = round(os.getloadavg()[0], 2)
    return Machine(
        system=platform.system(),
        architecture=platform.machine(),
        cpu=_cpu(),
        threads=processors.usable(),
        memory_mb=_memory_mb(),
        governor=_GOVERNOR.read_text().strip() if _GOVERNOR.is_file() else None,
        load=load,
        versions=_versions(),
    )


def free_bytes() -> int | None:
    """Memory that can be had without swapping; None where the system does not tell."""
    with suppress(OSError, ValueError):
        found = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
        free = next(int(words[1]) * 1024 for words in found if words[0] == "MemAvailable:")
        limit = Path("/sys/fs/cgroup/memory.max")  # of a container
        if limit.is_file() and (text := limit.read_text().strip()) != "max":
            free = min(free, int(text) - int(Path("/sys/fs/cgroup/memory.current").read_text()))
        return free
    return None


def _cpu() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Hardware", "Model")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_mb() -> int | None:
    with suppress(OSError, ValueError, AttributeError):
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6)
    return None


def _versions() -> dict[str, str]:
    found = {"edgestyle": __version__, "python": platform.python_version()}
    for name in _RUNTIMES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
