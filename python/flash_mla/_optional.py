"""PyTorch where it can be used, and what is wrong with it where it cannot."""

from __future__ import annotations

import operator
import re

_OLDEST = (2, 4)
_NEEDED = ("Tensor", "dtype", "uint16", "compiler.is_compiling", "library.register_fake", "ops")


def _wrong_with(module):
    """Why the module is no PyTorch that can be used, or an empty text."""
    where = getattr(module, "__file__", None)
    if where is None:
        places = list(getattr(module, "__path__", []))
        return f"the folder {places[0] if places else '?'} is imported as torch and is no PyTorch"
    version = str(getattr(module, "__version__", ""))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None:
        return f"{where} is imported as torch and is no PyTorch"
    if tuple(map(int, numbers.groups())) < _OLDEST:
        return f"PyTorch {version} ({where}) is older than {'.'.join(map(str, _OLDEST))}"
    try:
        for path in _NEEDED:
            operator.attrgetter(path)(module)
    except AttributeError as failure:
        return f"PyTorch {version} ({where}) lacks what is needed of it: {failure}"
    return ""


def _find_torch():
    """(PyTorch or None, why it cannot be used although a module of the name is there)."""
    try:
        import torch
    except ModuleNotFoundError as failure:
        if failure.name == "torch":
            return None, ""
        return None, f"PyTorch cannot be imported: {failure}"
    except Exception as failure:  # from its libraries, or from whatever its import runs
        return None, f"PyTorch cannot be imported: {type(failure).__name__}: {failure}"
    try:
        wrong = _wrong_with(torch)
    except Exception as failure:
        wrong = f"PyTorch cannot be used: {type(failure).__name__}: {failure}"
    return (None, wrong) if wrong else (torch, "")


torch, _wrong = _find_torch()
# Sentences on optional libraries that are there but cannot be used.
problems = [_wrong] if _wrong else []
