"""Operators of caches and merging, torch.ops.flashmla.*."""

from __future__ import annotations

import torch

from . import _arguments, _core
from ._arguments import renamed
from ._cache import append, dequantise, gather, quantise
from ._checks import FAILURES
from ._frameworks import error
from ._library import define, nothing
from ._merge import empty_results, merge_states

_BYTES = (torch.uint8, torch.int8, torch.float8_e4m3fn)
# No argument of an operator has the name out (_ops.py).
_OUT_NAMES = {"out": "output", "lse": "output_lse"}


def _fake_format(cache, format):
    """The format of a traced cache, as _cache.format_of reads it from a real one."""
    if format is not None:
        return _arguments.kv_format("format", format)
    if cache.dtype not in _BYTES:
        return _arguments.kv_format("cache", cache.dtype)
    for name in ("v32", "v4"):
        if cache.shape[-1] == _core.token_elements(name, 0):
            return name
    wanted = "656 (v32) or 584 (v4) bytes a token"
    raise error(ValueError, "cache", f"shape {list(cache.shape)}", wanted)


def _check_rank(name, tensor, rank):
    if tensor.dim() != rank:
        raise error(ValueError, name, f"{tensor.dim()} dimensions", rank)


def _fake_rows(cache, format):
    """(h_kv, d_qk, type of rows) of a traced cache."""
    _check_rank("cache", cache, 4)
    fmt = _fake_format(cache, format)
    dtype = torch.float16 if fmt == "fp16" else torch.bfloat16
    return cache.shape[2], _core.format_qk_dim(fmt) or cache.shape[3], dtype


def _append(cache, rows, slots, format=None):
    append(cache, rows, slots, format=format)


def _gather(cache, slots, format=None):
    return gather(cache, slots, format=format)


def _fake_gather(cache, slots, format=None):
    heads, width, dtype = _fake_rows(cache, format)
    _check_rank("slots", slots, 1)
    return cache.new_empty((slots.shape[0], heads, width), dtype=dtype)


def _gather_out(cache, slots, output, format=None):
    try:
        gather(cache, slots, format=format, out=output)
    except FAILURES as failure:
        raise renamed(failure, _OUT_NAMES) from None


def _fake_quantise(plain, format):
    _check_rank("plain", plain, 4)
    fmt = _arguments.kv_format("format", format)
    shape = (*plain.shape[:3], _core.token_elements(fmt, 0) or plain.shape[3])
    return plain.new_empty(shape, dtype=torch.uint8 if fmt in ("v32", "v4") else plain.dtype)


def _quantise_out(plain, format, cache):
    quantise(plain, format, cache=cache)


def _fake_dequantise(cache, format=None):
    heads, width, dtype = _fake_rows(cache, format)
    return cache.new_empty((*cache.shape[:2], heads, width), dtype=dtype)


def _dequantise_out(cache, plain, format=None):
    dequantise(cache, format, plain=plain)


def _merge(outs, lses, attn_sink=None, lse_layout="bhs", empty_lse="+inf", lse_base=None):
    form = {"lse_layout": lse_layout, "empty_lse": empty_lse, "lse_base": lse_base}
    return merge_states(outs, lses, attn_sink, **form)


def _fake_merge(outs, lses, *arguments, **named):
    return empty_results(outs[0], lses[0])


def _merge_out(
    outs, lses, attn_sink, output, output_lse, lse_layout="bhs", empty_lse="+inf", lse_base=None
):  # fmt: skip
    form = {"lse_layout": lse_layout, "empty_lse": empty_lse, "lse_base": lse_base}
    try:
        merge_states(outs, lses, attn_sink, out=output, lse=output_lse, **form)
    except FAILURES as failure:
        raise renamed(failure, _OUT_NAMES) from None


_FORM = 'str lse_layout="bhs", str empty_lse="+inf", float? lse_base=None'

define(
    "append(Tensor(a!) cache, Tensor rows, Tensor slots, str? format=None) -> ()", _append, nothing
)
define("gather(Tensor cache, Tensor slots, str? format=None) -> Tensor", _gather, _fake_gather)
define(
    "gather_out(Tensor cache, Tensor slots, Tensor(a!) output, str? format=None) -> ()",
    _gather_out,
    nothing,
)
define("quantise(Tensor plain, str format) -> Tensor", quantise, _fake_quantise)
define("quantise_out(Tensor plain, str format, Tensor(a!) cache) -> ()", _quantise_out, nothing)
define("dequantise(Tensor cache, str? format=None) -> Tensor", dequantise, _fake_dequantise)
define(
    "dequantise_out(Tensor cache, Tensor(a!) plain, str? format=None) -> ()",
    _dequantise_out,
    nothing,
)
define(
    f"merge_states(Tensor[] outs, Tensor[] lses, Tensor? attn_sink=None, {_FORM}) "
    "-> (Tensor, Tensor)",
    _merge,
    _fake_merge,
)
define(
    "merge_states_out(Tensor[] outs, Tensor[] lses, Tensor? attn_sink, Tensor(a!) output, "
    f"Tensor(b!) output_lse, {_FORM}) -> ()",
    _merge_out,
    nothing,
)
