"""What the tensors of a call say about it, and the errors of calls that say nothing sound."""

from __future__ import annotations

from ._arguments import flag, renamed, shown
from ._checks import FAILURES, HEAD_DIM_V, inspect
from ._frameworks import error
from ._schedule import Config

__all__ = ["DECODE_NAMES", "FAILURES", "HEAD_DIM_V", "describe_call", "renamed"]

NO_DENSE_FP8 = "bf16 or fp16 without indices: dense attention over an FP8 cache has no kernel yet"
_PAGES = "[num_pages, page_block_size, h_kv, token]"
_BYTES = ("u8", "i8", "e4m3")
KNOWN_FORMATS = {"bf16": "bf16", "fp16": "fp16", "v32": "v32", "v4": "v4", "model1": "v4"}
_COMING_FORMATS = {"v32_no_rope": 528, "v32_nope": 528, "v41": 528, "v41_fp4": 288}
# Arguments of flash_mla_with_kvcache by their names in the C++ library; of what the library knows
# as a number of the problem, the argument that says it.
DECODE_NAMES = {
    "kv_cache": "k_cache",
    "lengths": "cache_seqlens",
    "extra_kv_cache": "extra_k_cache",
    "extra_indices": "extra_indices_in_kvcache",
    "problem": "q",
    "batch": ("q", "b"),
    "query_tokens": ("q", "s_q"),
    "query_heads": ("q", "h_q"),
    "qk_dim": ("q", "d_qk"),
    "dtype": ("q", "dtype"),
    "kv_heads": ("k_cache", "h_kv"),
    "kv_format": ("k_cache", "format"),
    "page_size": ("k_cache", "page_block_size"),
    "max_pages": ("block_table", "max_pages"),
    "topk": ("indices", "topk"),
    "extra_topk": ("extra_indices_in_kvcache", "extra_topk"),
    "extra_page_size": ("extra_k_cache", "page_block_size"),
    "max_workers": ("tile_scheduler_metadata", "max_workers"),
    "batch_invariant": ("tile_scheduler_metadata", "batch_invariant"),
}


def _absent(tensors, where):
    for name, tensor in tensors.items():
        if tensor is not None:
            raise error(ValueError, name, shown(tensor), f"None {where}")


def check_format(kv_format, q, k_cache, indices):
    """kv_format only says what the tensors say, where these leave no choice."""
    name = "kv_format"
    if not isinstance(kv_format, str):
        raise error(TypeError, name, shown(kv_format), "the name of a cache's format, or None")
    text = kv_format.lower()
    if text in _COMING_FORMATS:
        wanted = f"{', '.join(KNOWN_FORMATS)}: this format has no kernel yet"
        raise error(NotImplementedError, name, shown(kv_format), wanted)
    _, dtype, shape = inspect(k_cache, "k_cache", 4, _PAGES)
    found = dtype
    if dtype in _BYTES and indices is not None:
        found = _packed_format(inspect(q, "q", 4, "[b, s_q, h_q, d_qk]")[2][3], shape)
    if KNOWN_FORMATS.get(text) != found:
        raise error(ValueError, name, shown(kv_format), f"{found}, as k_cache and q say, or None")


def _packed_format(d_qk, shape):
    if d_qk == 512 and shape[3] == 528:
        wanted = "584 (V4), or kv_format= to say which of the formats of 528 bytes it is"
        raise error(ValueError, "k_cache", "528 bytes a token", wanted)
    return "v32" if d_qk == 576 else "v4"


def is_packed(k_cache):
    """Whether a cache is FP8: what is_fp8_kvcache=None stands for."""
    return inspect(k_cache, "k_cache", 4, _PAGES)[1] in _BYTES


def _dense_fields(q, k_cache, block_table, cache_seqlens):
    """What the tensors of a dense call say about it: (device, fields of the problem)."""
    device, dtype, (b, s_q, h_q, d_qk) = inspect(q, "q", 4, "[b, s_q, h_q, d_qk]")
    _, cache_dtype, cache_shape = inspect(k_cache, "k_cache", 4, _PAGES)
    for name, tensor in (("block_table", block_table), ("cache_seqlens", cache_seqlens)):
        if tensor is None:
            raise error(TypeError, name, "None", "a tensor, as indices is None: dense decoding")
    if cache_dtype in _BYTES:
        raise error(NotImplementedError, "k_cache", f"dtype {cache_dtype}", NO_DENSE_FP8)
    _, _, table = inspect(block_table, "block_table", 2, "[b, max_pages]")
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
        "max_pages": table[1],
    }


def _sparse_fields(q, k_cache, indices, extra_k_cache, extra_indices, is_fp8_kvcache):
    """What the tensors of a sparse call say about it: (device, fields of the problem)."""
    device, dtype, (b, s_q, h_q, d_qk) = inspect(q, "q", 4, "[b, s_q, h_q, d_qk]")
    _, cache_dtype, cache_shape = inspect(k_cache, "k_cache", 4, _PAGES)
    _, _, lists = inspect(indices, "indices", 3, "[b, s_q, topk]")
    if dtype != "bf16":
        raise error(ValueError, "q", f"dtype {dtype}", "dtype bf16 in sparse attention")
    packed = cache_dtype in _BYTES
    if packed != is_fp8_kvcache:
        wanted = f"{packed}, as k_cache is of dtype {cache_dtype}"
        raise error(ValueError, "is_fp8_kvcache", is_fp8_kvcache, wanted)
    if packed and d_qk not in (576, 512):
        raise error(ValueError, "q", f"d_qk = {d_qk}", "576 (V3.2 cache) or 512 (V4 cache)")
    kv_format = _packed_format(d_qk, cache_shape) if packed else "bf16"
    fields = {
        "kind": "sparse_decode",
        "batch": b,
        "query_tokens": s_q,
        "query_heads": h_q,
        "kv_heads": cache_shape[2],
        "dtype": dtype,
        "kv_format": kv_format,
        "qk_dim": d_qk,
        "page_size": cache_shape[1],
        "topk": lists[2],
    }
    if (extra_k_cache is None) != (extra_indices is None):
        missing = "extra_k_cache" if extra_k_cache is None else "extra_indices_in_kvcache"
        raise error(ValueError, missing, "None", "a tensor: the two come together")
    if extra_k_cache is not None:
        _, _, extra_shape = inspect(extra_k_cache, "extra_k_cache", 4, _PAGES)
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
    flag("causal", causal)
    flag("is_fp8_kvcache", is_fp8_kvcache)
    if indices is None:
        absent = {
            "extra_k_cache": extra_k_cache,
            "extra_indices_in_kvcache": extra_indices,
            "topk_length": topk_length,
            "extra_topk_length": extra_topk_length,
        }
        _absent(absent, "without indices: dense decoding")
        device, fields = _dense_fields(q, k_cache, block_table, cache_seqlens)
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
