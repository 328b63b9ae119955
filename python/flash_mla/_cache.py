"""Reading and writing paged caches of every format.

A cache is [num_blocks, page_size, h_kv, elements of a token]: d_qk numbers in bf16 and fp16, 656
bytes in v32 (d_qk = 576), 584 in v4 (d_qk = 512), as uint8, int8 or float8_e4m3fn. Slots are int32
or int64 [n]: page · page_size + offset in page.
"""

from __future__ import annotations

from . import _core
from ._frameworks import error, framework_of
from ._merge import stream_for

_ROW_TYPES = {"bf16": "bfloat16", "fp16": "float16", "v32": "bfloat16", "v4": "bfloat16"}


def format_of(cache, argument="cache"):
    """The format that the type and the last dimension of a cache tensor say."""
    _, _, dtype, shape, _ = _core.inspect(cache, argument)
    if dtype in ("bf16", "fp16"):
        return dtype
    for name in ("v32", "v4"):
        if dtype in ("u8", "i8", "e4m3") and shape[-1] == _core.token_elements(name, 0):
            return name
    wanted = "bf16 or fp16 numbers, or bytes with 656 (v32) or 584 (v4) a token"
    raise error(ValueError, argument, f"{dtype}{list(shape)}", wanted)


def _row_dimensions(cache, fmt):
    """(h_kv, d_qk) of the rows of a cache."""
    shape = _core.inspect(cache, "cache")[3]
    if len(shape) != 4:
        wanted = "shape [num_blocks, page_size, h_kv, token]"
        raise error(ValueError, "cache", f"shape {list(shape)}", wanted)
    return shape[2], _core.format_qk_dim(fmt) or shape[3]


def append(cache, rows, slots, *, format=None):
    """Writes rows [n, h_kv, d_qk] (of the cache's type, bf16 for FP8 formats) to their slots.

    A slot outside the cache is skipped; of rows with the same slot one is written. FP8 formats
    quantise as :func:`quantise` does. Returns the cache.
    """
    fmt = format or format_of(cache)
    _core.append(cache, fmt, rows, slots, stream_for(framework_of(cache, "cache"), cache))
    return cache


def gather(cache, slots, *, format=None, out=None):
    """The rows [n, h_kv, d_qk] of slots [n]; zeros for a slot outside the cache."""
    fmt = format or format_of(cache)
    framework = framework_of(cache, "cache")
    if out is None:
        count = _core.inspect(slots, "slots")[3][0]
        shape = (count, *_row_dimensions(cache, fmt))
        out = framework.named(cache, shape, _ROW_TYPES[fmt])
    _core.gather(cache, fmt, slots, out, stream_for(framework, cache))
    return out


def quantise(plain, format, *, cache=None):
    """A cache of this format from a plain one [num_blocks, page_size, h_kv, d_qk].

    plain: bf16 for "v32" and "v4", else of the format's type. cache: where to write; allocated as
    uint8 (plain formats: as `plain`) where None.
    FP8 formats store e4m3(x / scale), rounded to nearest even and clamped to ±448, with the scale
    2 ** ceil(log2(max(absmax / 448, 1e-4))) of each tile. Returns the cache.
    """
    framework = framework_of(plain, "plain")
    if cache is None:
        shape = _core.inspect(plain, "plain")[3]
        if len(shape) != 4:
            wanted = "shape [num_blocks, page_size, h_kv, d_qk]"
            raise error(ValueError, "plain", f"shape {list(shape)}", wanted)
        shape = (*shape[:3], _core.token_elements(format, shape[3]))
        if format in ("v32", "v4"):
            cache = framework.named(plain, shape, "uint8")
            if format == "v4":
                cache[...] = 0  # the eighth byte of a token's scales is nobody's
        else:
            cache = framework.empty(plain, shape)
    _core.quantise(plain, cache, format, stream_for(framework, plain))
    return cache


def dequantise(cache, format=None, *, plain=None):
    """The plain cache [num_blocks, page_size, h_kv, d_qk] of any other; bf16 for FP8 formats."""
    fmt = format or format_of(cache)
    framework = framework_of(cache, "cache")
    if plain is None:
        rows = _row_dimensions(cache, fmt)
        shape = (*_core.inspect(cache, "cache")[3][:2], *rows)
        plain = framework.named(cache, shape, _ROW_TYPES[fmt])
    _core.dequantise(cache, fmt, plain, stream_for(framework, cache))
    return plain
