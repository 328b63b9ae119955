"""Arguments that are wrong in themselves, and errors under the names that the caller knows."""

from __future__ import annotations

import operator

from . import _core
from ._frameworks import error, type_text

HEAD_DIM_V = 512
FAILURES = (ValueError, NotImplementedError, TypeError)
_INT32_MOST = 2**31 - 1
_LONGEST = 80  # characters of a value in a message


def shown(value):
    """A value in a message: short, and without waiting for a device."""
    if value is None or isinstance(value, (bool, float)):
        return repr(value)
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"a {type_text(type(value))} of shape {list(value.shape)}"
    if isinstance(value, int) and value.bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"
    if not isinstance(value, (int, str)):
        return f"a {type_text(type(value))}"
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def renamed(failure, names):
    """The same error under the name that the caller knows.

    names: {name in the library: name of the caller's argument, or (that, what of it)}
    """
    name = getattr(failure, "argument", None)
    if name not in names:
        return failure
    known, given = names[name], failure.given
    if isinstance(known, tuple):
        known, part = known
        given = f"{part} = {given}" if part else given
    return error(type(failure), known, given, failure.wanted)


def check_flag(name, given):
    if not isinstance(given, bool):
        raise error(TypeError, name, shown(given), "True or False")


def checked_count(name, given, least=1, most=_INT32_MOST):
    """An integer of this range: Python's, NumPy's, or in a tensor on the host."""
    try:
        count = None if isinstance(given, bool) else operator.index(given)
    except (TypeError, ValueError, RuntimeError):
        count = None
    if count is None or not least <= count <= most:
        wanted = (
            "a positive integer" if most == _INT32_MOST else f"an integer from {least} to {most}"
        )
        kind = TypeError if count is None and given is not None else ValueError
        raise error(kind, name, shown(given), wanted)
    return count


def checked_scale(name, scale):
    """The softmax scale as a Python float, or None.

    A flag in its place is a known slip of positional callers. The number of a tensor on a GPU would
    have to be waited for.
    """
    if scale is None or type(scale) is float:
        return scale
    kind = str(getattr(scale, "dtype", ""))
    is_number = hasattr(scale, "__float__") and "bool" not in kind and "complex" not in kind
    if isinstance(scale, bool) or not is_number or tuple(getattr(scale, "shape", ())) != ():
        raise error(TypeError, name, shown(scale), "a number; flags come behind it")
    if getattr(scale, "is_cuda", False) or hasattr(scale, "__cuda_array_interface__"):
        raise error(TypeError, name, f"{shown(scale)} on a GPU", "a number on the host")
    try:
        return float(scale)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise error(ValueError, name, shown(scale), "a finite number") from None


def check_head_dim(name, given):
    if type(given) is int and given == HEAD_DIM_V:
        return
    try:
        number = 0 if isinstance(given, bool) else operator.index(given)
    except (TypeError, ValueError, RuntimeError):
        number = 0
    if number != HEAD_DIM_V:
        raise error(ValueError, name, shown(given), HEAD_DIM_V)


def check_tensor(tensor, name, dtype, dimensions):
    """The shape of a tensor of this type. A dimension is a number, or a name for any extent."""
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
    """(device, dtype, shape) of a tensor with this number of dimensions."""
    device, index, dtype, shape, _ = _core.inspect(tensor, name)
    if len(shape) != rank:
        raise error(ValueError, name, f"shape {list(shape)}", f"shape {dimensions}")
    return (device, index), dtype, shape
