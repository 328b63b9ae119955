"""The compiled part of the package. Where it is missing, the error says what to do."""

from __future__ import annotations

import importlib.util
import pathlib

_HERE = pathlib.Path(__file__).parent

try:
    from . import _core as _core
except ImportError as failure:
    _found = importlib.util.find_spec("._core", __package__)
    if _found is not None:
        raise ImportError(
            f"flash_mla: its compiled part {_found.origin} cannot be loaded: {failure}"
        ) from failure
    _others = ", ".join(sorted(path.name for path in _HERE.glob("_core.*")))
    _what = f"only {_others}, made for another Python" if _others else "no compiled part (_core)"
    raise ImportError(
        f"flash_mla: {_HERE} has {_what}. `pip install .` in the root of the repository builds and "
        "installs the package; the folder python/ of the sources does not belong on the path"
    ) from None
