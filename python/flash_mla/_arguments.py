"""Arguments that are no tensors: the values that are taken, and the errors of all others."""

from __future__ import annotations

import math
import numbers

from ._frameworks import error, torch, type_text

KINDS = ("dense_decode", "sparse_decode", "sparse_prefill")
DTYPES = ("bf16", "fp16")
FORMATS = ("bf16", "fp16", "v32", "v4")
_EMPTY = ("+inf", "-inf")
_DEVICES = '"cpu", "cuda" or "cuda:INDEX", a torch.device or a pair of a name and an index'
_LONG_NAMES = {"bfloat16": "bf16", "float16": "fp16"}


def shown(given):
    """How a message shows an object: a number or a name as it is, anything else by its type."""
    if isinstance(given, int) and not -(2**127) <= given < 2**127:
        return f"an integer of {given.bit_length()} bits"
    if given is None or isinstance(given, (bool, int, float)):
        return repr(given)
    if isinstance(given, str):
        return repr(given if len(given) <= 60 else given[:60] + "…")
    return f"a {type_text(type(given))}"


def integer(name, given):
    """The given integer of 64 bits. A bool is refused."""
    if isinstance(given, bool) or not isinstance(given, numbers.Integral):
        raise error(TypeError, name, shown(given), "an integer")
    if not -(2**63) <= given < 2**63:
        raise error(ValueError, name, shown(given), "an integer of at most 64 bits")
    return int(given)


def flag(name, given):
    """The given True or False. Other values that count as true or false are refused."""
    if given is not True and given is not False:
        raise error(TypeError, name, shown(given), "True or False")
    return given


def one_of(name, given, names):
    """The given name, which must be one of these."""
    if isinstance(given, str) and given in names:
        return names[names.index(given)]  # plain text, where an enumerator of str is given
    wanted = ", ".join(names[:-1]) + f" or {names[-1]}"
    if not isinstance(given, str):
        raise error(TypeError, name, shown(given), wanted)
    raise error(ValueError, name, shown(given), wanted)


def _dtype_text(given):
    """The name of a dtype of PyTorch or NumPy, or of a scalar type; any other object as it is."""
    if torch is not None and isinstance(given, torch.dtype):
        return str(given).removeprefix("torch.")
    if isinstance(given, type):
        return given.__name__
    if isinstance(given, str):
        return given.removeprefix("torch.")
    name = getattr(given, "name", None)
    return name if isinstance(name, str) and hasattr(given, "itemsize") else given


def dtype(name, given, names=DTYPES):
    """The short name of a type in any spelling, or of a dtype of PyTorch or NumPy."""
    text = _dtype_text(given)
    return one_of(name, _LONG_NAMES.get(text, text) if isinstance(text, str) else text, names)


def kv_format(name, given):
    """The name of a cache format. A plain format may be given as a dtype."""
    return dtype(name, given, FORMATS)


def device(argument, given):
    """("cpu" or "cuda", index) of "cpu", "cuda", "cuda:1", a torch.device or such a pair."""
    if isinstance(given, tuple) and len(given) == 2:
        name, index = given
        text = ", ".join(map(shown, given))
    elif isinstance(given, str) or (torch is not None and isinstance(given, torch.device)):
        text = shown(str(given))
        name, colon, index = str(given).partition(":")
        if not colon:
            on_cuda = torch is not None and torch.cuda.is_available() and name == "cuda"
            index = torch.cuda.current_device() if on_cuda else 0
        elif index.isdigit() and len(index) < 10:
            index = int(index)
    else:
        raise error(ValueError, argument, shown(given), _DEVICES)
    sound = isinstance(name, str) and isinstance(index, int) and not isinstance(index, bool)
    most = {"cpu": 0, "cuda": 1023}.get(name, -1) if sound else -1
    if not sound or not 0 <= index <= most:
        raise error(ValueError, argument, text, _DEVICES)
    return name, index


def number(name, given):
    """The float of a number or of a 0-d tensor on the CPU. The library checks that it is finite.

    A number on a GPU is refused: the call would have to wait for the GPU.
    """
    if type(given) is float:
        return given
    kind = str(getattr(given, "dtype", ""))
    real = not isinstance(given, numbers.Complex) or isinstance(given, numbers.Real)
    if (
        isinstance(given, bool)
        or not hasattr(given, "__float__")
        or tuple(getattr(given, "shape", ())) != ()
        or "bool" in kind
        or "complex" in kind
        or not real
    ):
        raise error(TypeError, name, shown(given), "a number")
    if getattr(given, "is_cuda", False) or hasattr(given, "__cuda_array_interface__"):
        raise error(ValueError, name, "a number on a GPU", "one on the host: nothing is waited for")
    if getattr(given, "requires_grad", False) and torch.is_grad_enabled():
        wanted = "one that does not, or a call under torch.no_grad(): there is no backward pass"
        raise error(ValueError, name, "a tensor that requires grad", wanted)
    try:
        return float(given)
    except OverflowError:
        raise error(ValueError, name, shown(given), "a number of type float32") from None
    except Exception:
        raise error(TypeError, name, shown(given), "a number") from None


def scale_arguments(name, scale):
    """The scale as an operator's argument: a number, or a 0-d tensor under a name of its own."""
    # NOTE: plain exceptions: Dynamo traces no assignment to an exception's attributes.
    if isinstance(scale, torch.Tensor):
        return {"scale_tensor": scale}
    if scale is None or isinstance(scale, (int, float)):
        return {name: scale}
    if isinstance(scale, str) or not hasattr(scale, "dtype"):
        raise TypeError(f"{name}: given a {type(scale).__name__}, wanted a number")
    return {"scale_tensor": torch.as_tensor(scale)}  # a number of NumPy


def lse_form(empty_lse, lse_base):
    """(whether logarithms are to base 2, whether lse is −inf where no token is seen)."""
    one_of("empty_lse", empty_lse, _EMPTY)
    if lse_base is None:
        return False, empty_lse == "-inf"
    base = number("lse_base", lse_base)
    if base not in (2.0, math.e):
        raise error(ValueError, "lse_base", shown(lse_base), "2, or None or math.e for natural")
    return base == 2.0, empty_lse == "-inf"


def renamed(failure, names):
    """The same error, which names the argument as the called function does.

    names: {name in the library: argument, or a pair of the argument and the part that is meant}
    """
    name = getattr(failure, "argument", None)
    if name not in names:
        return failure
    known, given = names[name], failure.given
    if isinstance(known, tuple):
        known, part = known
        given = f"{part} = {given}" if part else given
    return error(type(failure), known, given, failure.wanted)
