"""What the tensors of a call say about it, and the errors of calls that say nothing sound."""

from __future__ import annotations

from . import _core
from ._arguments import renamed as renamed
from ._frameworks import error
from ._metadata import Config

HEAD_DIM_V = 512
FAILURES = (ValueError, NotImplementedError, TypeError)
_BYTES = ("u8", "i8", "e4m3")
# Names of the C++ library's arguments in these functions.
DECODE_NAMES = {
    "kv_cache": "k_cache",
    "lengths": "cache_seqlens",
    "extra_kv_cache": "extra_k_cache",
    "extra_indices": "extra_indices_in_kvcache",
}


def inspect(tensor, name, rank, dimensions):
    """(device, dtype, shape) of a tensor with this number of dimensions."""
    device, index, dtype, shape, _ = _core.inspect(tensor, name)
    if len(shape) != rank:
        raise error(ValueError, name, f"shape {list(shape)}", f"shape {dimensions}")
    return (device, index), dtype, shape


def check_scale(name, scale):
    """A flag in the place of the scale is a known slip of positional callers."""
    if isinstance(scale, bool) or not (scale is None or hasattr(scale, "__float__")):
        raise error(TypeError, name, repr(scale), "a number; flags come behind it")


def check_head_dim(name, given):
    if isinstance(given, bool) or given != HEAD_DIM_V:
        raise error(ValueError, name, repr(given), HEAD_DIM_V)


def _check_flag(name, given):
    if not isinstance(given, bool):
        raise error(TypeError, name, repr(given), "True or False")


def _absent(tensors, where):
    for name, tensor in tensors.items():
        if tensor is not None:
            raise error(ValueError, name, f"a {type(tensor).__qualname__}", f"None {where}")


def _dense_fields(q, k_cache, block_table, cache_seqlens, is_fp8_kvcache):
    """What the tensors of a dense call say about it: (device, fields of the problem)."""
    device, dtype, (b, s_q, h_q, d_qk) = inspect(q, "q", 4, "[b, s_q, h_q, d_qk]")
    _, cache_dtype, cache_shape = inspect(
        k_cache, "k_cache", 4, "[num_blocks, page_block_size, h_kv, d_qk]"
    )
    for name, tensor in (("block_table", block_table), ("cache_seqlens", cache_seqlens)):
        if tensor is None:
            raise error(TypeError, name, "None", "a tensor, as indices is None: dense decoding")
    if cache_dtype in _BYTES:
        wanted = "bf16 or fp16: an FP8 cache is read with indices"
        raise error(NotImplementedError, "k_cache", f"dtype {cache_dtype}", wanted)
    _, _, table = inspect(block_table, "block_table", 2, "[b, max_blocks]")
    where = inspect(cache_seqlens, "cache_seqlens", 1, "[b]")[0]
    if where != device:
        wanted = f"one on {device[0]}:{device[1]}, as q"
        raise error(ValueError, "cache_seqlens", f"a tensor on {where[0]}:{where[1]}", wanted)
    if dtype not in ("bf16", "fp16"):
        raise error(ValueError, "q", f"dtype {dtype}", "dtype bf16 or fp16")
    return device, {
        "kind": "dense_decode",
        "batch": b,
        "query_tokens": s_q,
        "query_heads": h_q,
        "kv_heads": cache_shape[2],
        "dtype": dtype,
        "kv_format": dtype,
        "qk_dim": d_qk,
        "page_size": cache_shape[1],
        "max_blocks": table[1],
    }


def _sparse_fields(q, k_cache, indices, extra_k_cache, extra_indices, is_fp8_kvcache):
    """What the tensors of a sparse call say about it: (device, fields of the problem)."""
    device, dtype, (b, s_q, h_q, d_qk) = inspect(q, "q", 4, "[b, s_q, h_q, d_qk]")
    pages = "[num_blocks, page_block_size, 1, token]"
    _, cache_dtype, cache_shape = inspect(k_cache, "k_cache", 4, pages)
    _, _, lists = inspect(indices, "indices", 3, "[b, s_q, topk]")
    if dtype != "bf16":
        raise error(ValueError, "q", f"dtype {dtype}", "dtype bf16 in sparse attention")
    packed = cache_dtype in _BYTES
    if packed != is_fp8_kvcache:
        wanted = f"{packed}, as k_cache is of dtype {cache_dtype}"
        raise error(ValueError, "is_fp8_kvcache", is_fp8_kvcache, wanted)
    if packed and d_qk not in (576, 512):
        raise error(ValueError, "q", f"d_qk = {d_qk}", "576 (V3.2 cache) or 512 (V4 cache)")
    fields = {
        "kind": "sparse_decode",
        "batch": b,
        "query_tokens": s_q,
        "query_heads": h_q,
        "kv_heads": cache_shape[2],
        "dtype": dtype,
        "kv_format": ("v32" if d_qk == 576 else "v4") if packed else "bf16",
        "qk_dim": d_qk,
        "page_size": cache_shape[1],
        "topk": lists[2],
    }
    if (extra_k_cache is None) != (extra_indices is None):
        missing = "extra_k_cache" if extra_k_cache is None else "extra_indices_in_kvcache"
        raise error(ValueError, missing, "None", "a tensor: the two come together")
    if extra_k_cache is not None:
        _, _, extra_shape = inspect(extra_k_cache, "extra_k_cache", 4, pages)
        _, _, extra_lists = inspect(
            extra_indices, "extra_indices_in_kvcache", 3, "[b, s_q, extra_topk]"
        )
        fields["extra_page_size"] = extra_shape[1]
        fields["extra_topk"] = extra_lists[2]
    return device, fields


def describe_call(
    q, k_cache, block_table, cache_seqlens, causal, is_fp8_kvcache, indices,
    extra_k_cache, extra_indices, topk_length, extra_topk_length,
):  # fmt: skip
    """(device, fields of the problem, Config) of a call of flash_mla_with_kvcache."""
    _check_flag("causal", causal)
    _check_flag("is_fp8_kvcache", is_fp8_kvcache)
    if indices is None:
        absent = {
            "extra_k_cache": extra_k_cache,
            "extra_indices_in_kvcache": extra_indices,
            "topk_length": topk_length,
            "extra_topk_length": extra_topk_length,
        }
        _absent(absent, "without indices: dense decoding")
        device, fields = _dense_fields(q, k_cache, block_table, cache_seqlens, is_fp8_kvcache)
    else:
        if extra_k_cache is None:
            _absent({"extra_topk_length": extra_topk_length}, "without extra_k_cache")
        if causal:
            raise error(ValueError, "causal", True, "False with indices, which say what is seen")
        device, fields = _sparse_fields(
            q, k_cache, indices, extra_k_cache, extra_indices, is_fp8_kvcache
        )
    fields["causal"] = causal
    config = Config(
        fields["batch"], fields["query_tokens"], fields["query_heads"], fields["page_size"],
        fields["kv_heads"], causal, is_fp8_kvcache, fields.get("topk"),
        fields.get("extra_page_size"), fields.get("extra_topk"),
    )  # fmt: skip
    return device, fields, config
