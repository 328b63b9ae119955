"""What this installation can do."""

from __future__ import annotations

import dataclasses
import sys

from . import _core
from ._arguments import integer, shown
from ._frameworks import error
from ._optional import problems, torch
from ._version import __version__


@dataclasses.dataclass(frozen=True)
class Backend:
    """One backend; `unavailable` says why it cannot be used here, "" where it can."""

    name: str
    unavailable: str
    devices: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Info:
    """Versions and backends; its text is for people.

    problems: sentences on optional libraries that are there but cannot be used
    """

    version: str
    library_version: str
    backends: tuple[Backend, ...]
    cpu_threads: int
    python: str
    torch: str | None
    problems: tuple[str, ...] = ()

    def __str__(self):
        lines = [
            f"flash_mla {self.version} (library {self.library_version}), Python {self.python}, "
            + (f"PyTorch {self.torch}" if self.torch else "without PyTorch")
        ]
        for backend in self.backends:
            lines.append(f"backend {backend.name}: {backend.unavailable or 'usable'}")
            if not backend.unavailable:
                lines += [f"  {device}" for device in backend.devices]
        if all(backend.name != "cuda" for backend in self.backends):
            lines.append("backend cuda: not in this build, which was made without nvcc")
        lines += [f"problem: {problem}" for problem in self.problems]
        return "\n".join(lines)


def info():
    """Versions, backends with their devices, and why a backend cannot be used."""
    return Info(
        version=__version__,
        library_version=_core.library_version(),
        backends=tuple(Backend(n, why, tuple(devices)) for n, why, devices in _core.backends()),
        cpu_threads=_core.cpu_threads(),
        python=sys.version.split()[0],
        torch=None if torch is None else str(torch.__version__),
        problems=tuple(problems),
    )


def set_cpu_threads(threads):
    """Sets the CPU backend's number of threads, for all later calls of this process.

    threads: 0 to 4096; 0 is the default. Raises ValueError or TypeError naming it.
    """
    if not 0 <= integer("threads", threads) <= 4096:
        raise error(ValueError, "threads", shown(threads), "a value from 0 to 4096")
    _core.set_cpu_threads(int(threads))
