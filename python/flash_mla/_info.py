"""What this installation can do."""

from __future__ import annotations

import dataclasses
import sys

from . import _core
from ._frameworks import torch
from ._neighbours import collision
from ._version import __version__


@dataclasses.dataclass(frozen=True)
class Backend:
    """One backend; `unavailable` says why it cannot be used here, "" where it can."""

    name: str
    unavailable: str
    devices: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Info:
    """Versions and backends; its text is for people."""

    version: str
    library_version: str
    backends: tuple[Backend, ...]
    cpu_threads: int
    python: str
    torch: str | None
    collision: str  # of distributions that own a folder flash_mla/; "" where all is well

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
        if self.collision:
            lines.append(f"installation: {self.collision}")
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
        collision=collision(),
    )
