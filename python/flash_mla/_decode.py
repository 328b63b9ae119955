"""flash_mla_with_kvcache and flash_mla_sparse_fwd: the names and the order that engines use."""

from __future__ import annotations

import threading

from . import _core
from ._frameworks import error, framework_of, torch
from ._metadata import Config, FlashMLASchedMeta, Held, metadata_of, version_of
from ._plan import Plan

_HEAD_DIM_V = 512
_BYTES = ("u8", "i8", "e4m3")
# Names of the C++ library's arguments in these functions.
_DECODE_NAMES = {
    "kv_cache": "k_cache",
    "lengths": "cache_seqlens",
    "extra_kv_cache": "extra_k_cache",
    "extra_indices": "extra_indices_in_kvcache",
}
_PREFILL_NAMES = {"kv_cache": "kv", "softmax_scale": "sm_scale"}

is_compiling = torch.compiler.is_compiling if torch is not None else (lambda: False)


def _renamed(failure, names):
    """The same error under the name that the caller knows."""
    name = getattr(failure, "argument", None)
    if name not in names:
        return failure
    return error(type(failure), names[name], failure.given, failure.wanted)


def _inspect(tensor, name, rank, dimensions):
    """(device, dtype, shape) of a tensor with this number of dimensions."""
    device, index, dtype, shape, _ = _core.inspect(tensor, name)
    if len(shape) != rank:
        raise error(ValueError, name, f"shape {list(shape)}", f"shape {dimensions}")
    return (device, index), dtype, shape


def _check_scale(name, scale):
    if isinstance(scale, bool):
        raise error(TypeError, name, repr(scale), "a number; flags come behind it")


def _check_head_dim(name, given):
    if isinstance(given, bool) or given != _HEAD_DIM_V:
        raise error(ValueError, name, repr(given), _HEAD_DIM_V)


def _check_flag(name, given):
    if not isinstance(given, bool):
        raise error(TypeError, name, repr(given), "True or False")


def _absent(tensors, where):
    for name, tensor in tensors.items():
        if tensor is not None:
            raise error(ValueError, name, f"a {type(tensor).__qualname__}", f"None {where}")


def _dense_fields(q, k_cache, block_table, cache_seqlens, is_fp8_kvcache):
    """What the tensors of a dense call say about it: (device, fields of the problem)."""
    device, dtype, (b, s_q, h_q, d_qk) = _inspect(q, "q", 4, "[b, s_q, h_q, d_qk]")
    _, cache_dtype, cache_shape = _inspect(
        k_cache, "k_cache", 4, "[num_blocks, page_block_size, h_kv, d_qk]"
    )
    for name, tensor in (("block_table", block_table), ("cache_seqlens", cache_seqlens)):
        if tensor is None:
            raise error(TypeError, name, "None", "a tensor, as indices is None: dense decoding")
    if cache_dtype in _BYTES:
        wanted = "bf16 or fp16: an FP8 cache is read with indices"
        raise error(NotImplementedError, "k_cache", f"dtype {cache_dtype}", wanted)
    _, _, table = _inspect(block_table, "block_table", 2, "[b, max_blocks]")
    where = _inspect(cache_seqlens, "cache_seqlens", 1, "[b]")[0]
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
    device, dtype, (b, s_q, h_q, d_qk) = _inspect(q, "q", 4, "[b, s_q, h_q, d_qk]")
    pages = "[num_blocks, page_block_size, 1, token]"
    _, cache_dtype, cache_shape = _inspect(k_cache, "k_cache", 4, pages)
    _, _, lists = _inspect(indices, "indices", 3, "[b, s_q, topk]")
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
        _, _, extra_shape = _inspect(extra_k_cache, "extra_k_cache", 4, pages)
        _, _, extra_lists = _inspect(
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


def _check_agreement(meta, config):
    """A later call with one schedule must be of the same problem."""
    if not meta.have_initialized or not isinstance(meta.config, tuple):
        return
    for name, before, now in zip(Config._fields, meta.config, config):
        if before != now:
            wanted = f"{before}, as in the first call with this tile_scheduler_metadata"
            raise error(ValueError, name, now, wanted)


def _signature(q, k_cache, indices, extra_k_cache, extra_indices):
    """Equal for calls that one schedule serves."""
    return tuple(
        None if tensor is None else (tuple(tensor.shape[first:]), tensor.dtype)
        for tensor, first in (
            (q, 0), (k_cache, 1), (indices, 0), (extra_k_cache, 1), (extra_indices, 0),
        )
    )  # fmt: skip


def _is_current(meta, held, given, cache_seqlens, stream, tensors):
    """Whether the schedule is the one to use, as far as the host can tell."""
    if held.work is not meta.tile_scheduler_metadata or not meta.have_initialized:
        return False
    by_tensors = meta._by_tensors
    if by_tensors:
        if held.signature != _signature(*tensors):
            return False
        version = version_of(given)
        if held.on_gpu and (version is None or version != held.tensor_version):
            return False
    lengths = cache_seqlens if held.dense else None
    return held.core.current(lengths, stream, by_tensors)


def _make(meta, given, cache_seqlens, tensors, call):
    """Plans and schedules a call; leaves the metadata as it is."""
    q = tensors[0]
    device, fields, config = call
    if not meta._by_tensors:
        _check_agreement(meta, config)
        meta._check_fields()
    fields["max_workers"] = meta.max_workers
    fields["batch_invariant"] = meta.batch_invariant
    plan = Plan(fields, device)
    plan.framework = framework_of(q, "q")
    dense = fields["kind"] == "dense_decode"
    plan.schedule(cache_seqlens if dense else None)
    by_tensors = meta._by_tensors
    return Held(
        plan, plan.core, config, plan.framework.stream, device[1], device[0] == "cuda",
        plan.array("work"), plan.array("split_offset"), dense, config.causal,
        config.is_fp8_kvcache, cache_seqlens, version_of(given) if by_tensors else None,
        _signature(*tensors) if by_tensors else None,
    )  # fmt: skip


def flash_mla_with_kvcache(
    q,
    k_cache,
    block_table,
    cache_seqlens,
    head_dim_v,
    tile_scheduler_metadata,
    num_splits=None,
    softmax_scale=None,
    causal=False,
    is_fp8_kvcache=False,
    indices=None,
    attn_sink=None,
    extra_k_cache=None,
    extra_indices_in_kvcache=None,
    topk_length=None,
    extra_topk_length=None,
    *,
    out=None,
    lse=None,
):
    """Decoding over a paged latent cache: dense, or over the slots that `indices` names.

    q: [b, s_q, h_q, d_qk] bf16 or fp16 (sparse: bf16), d_qk 576 or 512
    k_cache: [num_blocks, page_block_size, h_kv, d_qk] of q's type; with indices and
        is_fp8_kvcache bytes (uint8, int8 or float8_e4m3fn): 656 a token where d_qk is 576 (V3.2),
        584 where it is 512 (V4), h_kv = 1
    block_table: int32 [b, max_blocks]; cache_seqlens: int32 [b]; not read with indices
    head_dim_v: 512
    tile_scheduler_metadata, num_splits: what get_mla_metadata returned
    softmax_scale: d_qk ** -0.5 where None
    causal: query token t sees cache tokens j ≤ s_k − s_q + t
    indices: int32 [b, s_q, topk] of page · page_block_size + offset; others are no token
    attn_sink: float32 [h_q], natural-log domain
    extra_k_cache, extra_indices_in_kvcache [b, s_q, extra_topk]: a second cache, same softmax
    topk_length, extra_topk_length: int32 [b], entries that count
    out, lse: where to write; allocated where None

    Returns (out [b, s_q, h_q, 512] like q, lse float32 [b, h_q, s_q], natural logarithm). A query
    that sees no token gets out 0 and lse +inf.

    Runs on the device of q, on its current stream, without synchronising. Raises ValueError,
    TypeError or NotImplementedError naming the argument, what was given and what is wanted.
    """
    if is_compiling():
        from ._ops import compiled_decode

        return compiled_decode(
            q, k_cache, block_table, cache_seqlens, head_dim_v, softmax_scale, causal,
            is_fp8_kvcache, indices, attn_sink, extra_k_cache, extra_indices_in_kvcache,
            topk_length, extra_topk_length, tile_scheduler_metadata, out, lse,
        )  # fmt: skip
    if head_dim_v != _HEAD_DIM_V or softmax_scale is True or softmax_scale is False:
        _check_head_dim("head_dim_v", head_dim_v)
        _check_scale("softmax_scale", softmax_scale)
    meta = tile_scheduler_metadata
    if type(meta) is not FlashMLASchedMeta:
        meta = metadata_of(tile_scheduler_metadata, num_splits)
    held = meta._held
    made = False
    dense = indices is None
    try:
        if (
            held is None
            or held.causal is not causal
            or held.is_fp8_kvcache is not is_fp8_kvcache
            or held.dense is not dense
            or not _is_current(
                meta,
                held,
                tile_scheduler_metadata,
                cache_seqlens,
                held.stream_of(held.index) if held.on_gpu else 0,
                (q, k_cache, indices, extra_k_cache, extra_indices_in_kvcache),
            )
        ):
            call = describe_call(
                q, k_cache, block_table, cache_seqlens, causal, is_fp8_kvcache, indices,
                extra_k_cache, extra_indices_in_kvcache, topk_length, extra_topk_length,
            )  # fmt: skip
            tensors = q, k_cache, indices, extra_k_cache, extra_indices_in_kvcache
            held = _make(meta, tile_scheduler_metadata, cache_seqlens, tensors, call)
            made = True
        if out is None or lse is None:
            framework = held.plan.framework
            b, s_q, h_q = held.config[:3]
            if out is None:
                out = framework.empty(q, (b, s_q, h_q, _HEAD_DIM_V))
            if lse is None:
                lse = framework.named(q, (b, h_q, s_q), "float32")
        stream = held.stream_of(held.index) if held.on_gpu else 0
        memory = held.plan.run_memory(stream)
        held.core.run(
            q, k_cache, block_table if dense else None, out, lse, None, attn_sink, indices,
            topk_length, extra_k_cache, extra_indices_in_kvcache, extra_topk_length, softmax_scale,
            memory.address, memory.bytes, stream,
        )  # fmt: skip
    except (ValueError, NotImplementedError, TypeError) as failure:
        if not made and held is not None and not meta._by_tensors:
            # Perhaps not one tensor is wrong, but the call is another one than the schedule's.
            _explain(meta, (
                q, k_cache, block_table, cache_seqlens, causal, is_fp8_kvcache, indices,
                extra_k_cache, extra_indices_in_kvcache, topk_length, extra_topk_length,
            ))  # fmt: skip
        raise _renamed(failure, _DECODE_NAMES) from None
    if made:
        meta._commit(held)
    return out, lse


def _explain(meta, call):
    """Raises the error that names what differs from the schedule's first call, if anything does."""
    try:
        _, _, config = describe_call(*call)
    except (ValueError, NotImplementedError, TypeError) as clearer:
        raise _renamed(clearer, _DECODE_NAMES) from None
    try:
        _check_agreement(meta, config)
    except ValueError as clearer:
        raise clearer from None


_prefill = threading.local()


def flash_mla_sparse_fwd(
    q,
    kv,
    indices,
    sm_scale,
    d_v=512,
    attn_sink=None,
    topk_length=None,
    *,
    out=None,
    max_logits=None,
    lse=None,
):
    """Sparse prefill: each query token attends to the rows of `kv` that its list names.

    q: [s_q, h_q, d_qk] bf16; kv: [s_kv, 1, d_qk] bf16, not paged
    indices: int32 [s_q, 1, topk]; entries < 0 or ≥ s_kv are no token
    sm_scale: softmax scale
    d_v: 512
    attn_sink: float32 [h_q], natural-log domain; topk_length: int32 [s_q], entries that count
    out, max_logits, lse: where to write; allocated where None

    Returns (out [s_q, h_q, 512] bf16, max_logits [s_q, h_q] float32, the largest scaled score, −inf
    where there is none, lse [s_q, h_q] float32, +inf where there is none). Stream, device and
    errors as in :func:`flash_mla_with_kvcache`.
    """
    if is_compiling():
        from ._ops import compiled_sparse_fwd

        return compiled_sparse_fwd(
            q, kv, indices, sm_scale, d_v, attn_sink, topk_length, out, max_logits, lse
        )
    _check_head_dim("d_v", d_v)
    _check_scale("sm_scale", sm_scale)
    if sm_scale is None:
        raise error(TypeError, "sm_scale", "None", "a number")
    try:
        device, dtype, (s_q, h_q, d_qk) = _inspect(q, "q", 3, "[s_q, h_q, d_qk]")
        _, _, rows = _inspect(kv, "kv", 3, "[s_kv, 1, d_qk]")
        _, _, lists = _inspect(indices, "indices", 3, "[s_q, 1, topk]")
        if dtype != "bf16":
            raise error(ValueError, "q", f"dtype {dtype}", "dtype bf16")
        key = (device, s_q, h_q, d_qk, rows[1], lists[2])
        fields = {
            "kind": "sparse_prefill",
            "batch": 1,
            "query_tokens": s_q,
            "query_heads": h_q,
            "kv_heads": rows[1],
            "dtype": "bf16",
            "kv_format": "bf16",
            "qk_dim": d_qk,
            "topk": lists[2],
        }
        plan = _prefill_plan(key, fields, device, q)
        return plan.run(
            q, kv, attn_sink=attn_sink, softmax_scale=sm_scale, indices=indices,
            topk_length=topk_length, out=out, lse=lse, max_logits=max_logits,
        )  # fmt: skip
    except (ValueError, NotImplementedError, TypeError) as failure:
        raise _renamed(failure, _PREFILL_NAMES) from None


def _prefill_plan(key, fields, device, q):
    """A scheduled plan; on the CPU the last one of this thread where it is of the same problem."""
    last = getattr(_prefill, "last", None)
    if last is not None and last[0] == key and device[0] == "cpu":
        plan = last[1]
    else:
        plan = Plan(fields, device)
        plan.framework = framework_of(q, "q")
        plan.schedule()
        _prefill.last = (key, plan)
    return plan
