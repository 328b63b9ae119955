"""Reading and writing paged caches of every format.

A cache is [num_pages, page_size, h_kv, elements of a token]: d_qk numbers in bf16 and fp16, 656
bytes in v32 (d_qk = 576), 584 in v4 (d_qk = 512), as uint8, int8 or float8_e4m3fn. Slots are int32
or int64 [n]: page · page_size + offset in page.
"""

from __future__ import annotations

from . import _arguments, _core
from ._frameworks import error, framework_of, is_compiling, torch
from ._merge import stream_for

_ROW_TYPES = {"bf16": "bfloat16", "fp16": "float16", "v32": "bfloat16", "v4": "bfloat16"}


def format_of(cache, argument="cache"):
    """The format of a cache tensor, by its type and its last dimension."""
    _, _, dtype, shape, _ = _core.inspect(cache, argument)
    if dtype in ("bf16", "fp16"):
        return dtype
    for name in ("v32", "v4"):
        if dtype in ("u8", "i8", "e4m3") and shape[-1] == _core.token_elements(name, 0):
            return name
    wanted = "bf16 or fp16 numbers, or bytes with 656 (v32) or 584 (v4) a token"
    raise error(ValueError, argument, f"{dtype}{list(shape)}", wanted)


def _format(given, cache):
    """The given format, or the cache's own where None is given."""
    return format_of(cache) if given is None else _arguments.kv_format("format", given)


def _traced(format):
    """The format as an operator's argument."""
    return format if format is None or isinstance(format, str) else str(format)


def _four(name, tensor, last):
    """The shape of a tensor of four dimensions, the last of which is of this name."""
    shape = _core.inspect(tensor, name)[3]
    if len(shape) != 4:
        wanted = f"shape [num_pages, page_size, h_kv, {last}]"
        raise error(ValueError, name, f"shape {list(shape)}", wanted)
    return shape


def _row_dimensions(cache, fmt):
    """(h_kv, d_qk) of the rows of a cache."""
    shape = _four("cache", cache, "token")
    return shape[2], _core.format_qk_dim(fmt) or shape[3]


def append(cache, rows, slots, *, format=None):
    """Writes rows [n, h_kv, d_qk] (of the cache's type, bf16 for FP8 formats) to their slots.

    A row whose slot is outside the cache is skipped. Of several rows with the same slot the
    last one is written. FP8 formats quantise as :func:`quantise` does.
    format: "bf16", "fp16", "v32" or "v4"; None: the cache's type and last dimension tell it

    Returns the cache. Raises ValueError or TypeError naming the argument.
    """
    if is_compiling():
        torch.ops.flashmla.append(cache, rows, slots, _traced(format))
        return cache
    framework = framework_of(cache, "cache")
    fmt = _format(format, cache)
    _core.append(cache, fmt, rows, slots, stream_for(framework, cache, "cache"))
    return cache


def gather(cache, slots, *, format=None, out=None):
    """The rows [n, h_kv, d_qk] at slots [n]. A slot outside the cache gives zeros.

    format: as in :func:`append`; out: where to write, allocated where None
    Raises ValueError or TypeError naming the argument.
    """
    if is_compiling():
        if out is None:
            return torch.ops.flashmla.gather(cache, slots, _traced(format))
        torch.ops.flashmla.gather_out(cache, slots, out, _traced(format))
        return out
    framework = framework_of(cache, "cache")
    fmt = _format(format, cache)
    if out is None:
        count = _core.inspect(slots, "slots")[3][0]
        out = framework.named(cache, (count, *_row_dimensions(cache, fmt)), _ROW_TYPES[fmt])
    _core.gather(cache, fmt, slots, out, stream_for(framework, cache, "cache"))
    return out


def _empty_cache(framework, plain, fmt):
    """Memory for a cache of the numbers in `plain`."""
    shape = _four("plain", plain, "d_qk")
    shape = (*shape[:3], _core.token_elements(fmt, shape[3]))
    if fmt not in ("v32", "v4"):
        return framework.empty(plain, shape)
    cache = framework.named(plain, shape, "uint8")
    if fmt == "v4":
        cache[...] = 0  # the seven scales of a token leave an eighth byte
    return cache


def quantise(plain, format, *, cache=None):
    """A cache of this format from a plain one [num_pages, page_size, h_kv, d_qk].

    plain: bf16 for "v32" and "v4", else of the format's type. cache: where to write; allocated as
    uint8 (plain formats: as `plain`) where None.
    FP8 formats store e4m3(x / scale), rounded to nearest even and clamped to ±448, with the scale
    2 ** ceil(log2(max(absmax / 448, 1e-4))) of each tile. Returns the cache. Raises ValueError or
    TypeError naming the argument.
    """
    if is_compiling():
        if cache is None:
            return torch.ops.flashmla.quantise(plain, _traced(format))
        torch.ops.flashmla.quantise_out(plain, _traced(format), cache)
        return cache
    framework = framework_of(plain, "plain")
    fmt = _arguments.kv_format("format", format)
    if cache is None:
        cache = _empty_cache(framework, plain, fmt)
    _core.quantise(plain, cache, fmt, stream_for(framework, plain, "plain"))
    return cache


def dequantise(cache, format=None, *, plain=None):
    """The numbers of a cache, [num_pages, page_size, h_kv, d_qk]; bf16 for FP8 formats.

    format: as in :func:`append`; plain: where to write, allocated where None
    Raises ValueError or TypeError naming the argument.
    """
    if is_compiling():
        if plain is None:
            return torch.ops.flashmla.dequantise(cache, _traced(format))
        torch.ops.flashmla.dequantise_out(cache, plain, _traced(format))
        return plain
    framework = framework_of(cache, "cache")
    fmt = _format(format, cache)
    if plain is None:
        rows = _row_dimensions(cache, fmt)
        shape = (*_core.inspect(cache, "cache")[3][:2], *rows)
        plain = framework.named(cache, shape, _ROW_TYPES[fmt], "plain")
    _core.dequantise(cache, fmt, plain, stream_for(framework, cache, "cache"))
    return plain
