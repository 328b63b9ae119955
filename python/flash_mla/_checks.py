"""Arguments of the engines' functions: numbers, and tensors by their type and dimensions."""

from __future__ import annotations

import operator

from . import _core
from ._arguments import number, shown
from ._frameworks import error

HEAD_DIM_V = 512
FAILURES = (ValueError, NotImplementedError, TypeError)
_INT32_MOST = 2**31 - 1


def whole_number(given):
    """The value of Python's or NumPy's integer, or of one in a tensor on the host; otherwise None.

    A flag is none: older versions of NumPy take its flags for integers.
    """
    if isinstance(given, bool) or "bool" in str(getattr(given, "dtype", "")):
        return None
    try:
        return operator.index(given)
    except Exception:
        return None


def checked_count(name, given, least=1, most=_INT32_MOST):
    """The given integer of this range: Python's, NumPy's, or in a tensor on the host."""
    count = whole_number(given)
    if count is None or not least <= count <= most:
        wanted = (
            "a positive integer" if most == _INT32_MOST else f"an integer from {least} to {most}"
        )
        kind = TypeError if count is None and given is not None else ValueError
        raise error(kind, name, shown(given), wanted)
    return count


def checked_scale(name, scale):
    """The softmax scale as a Python float, or None.

    A flag is refused: a caller by position who leaves out the scale passes one in its place.
    """
    if scale is None or type(scale) is float:
        return scale
    if isinstance(scale, bool):
        raise error(TypeError, name, scale, "a number; flags come behind it")
    return number(name, scale)


def check_head_dim(name, given):
    if type(given) is int and given == HEAD_DIM_V:
        return
    if whole_number(given) != HEAD_DIM_V:
        raise error(ValueError, name, shown(given), HEAD_DIM_V)


def check_tensor(tensor, name, dtype, dimensions):
    """The shape of a tensor, which must have this type and these dimensions.

    A dimension is a number, or a name that stands for any extent.
    """
    _, _, given, shape, _ = _core.inspect(tensor, name)
    fits = len(shape) == len(dimensions) and all(
        isinstance(wanted, str) or wanted == extent for wanted, extent in zip(dimensions, shape)
    )
    if given != dtype or not fits:
        types = {"i32": "int32"}
        wanted = f"{types.get(dtype, dtype)} [{', '.join(map(str, dimensions))}]"
        raise error(ValueError, name, f"{given}{list(shape)}", wanted)
    return shape


def inspect(tensor, name, rank, dimensions):
    """(device, dtype, shape) of a tensor, which must have this number of dimensions."""
    device, index, dtype, shape, _ = _core.inspect(tensor, name)
    if len(shape) != rank:
        raise error(ValueError, name, f"shape {list(shape)}", f"shape {dimensions}")
    return (device, index), dtype, shape
