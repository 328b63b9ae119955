"""flash_mla_with_kvcache: the name and the order that engines use."""

from __future__ import annotations

from ._call import (
    DECODE_NAMES,
    FAILURES,
    HEAD_DIM_V,
    check_head_dim,
    check_scale,
    describe_call,
    renamed,
)
from ._compiled import compiled_decode, is_compiling
from ._frameworks import Results, error, framework_of
from ._metadata import Config, FlashMLASchedMeta, Held, metadata_of, version_of
from ._plan import Plan


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
        return compiled_decode(
            q, k_cache, block_table, cache_seqlens, head_dim_v, softmax_scale, causal,
            is_fp8_kvcache, indices, attn_sink, extra_k_cache, extra_indices_in_kvcache,
            topk_length, extra_topk_length, tile_scheduler_metadata, out, lse,
        )  # fmt: skip
    if head_dim_v != HEAD_DIM_V:
        check_head_dim("head_dim_v", head_dim_v)
    if softmax_scale is not None and type(softmax_scale) is not float:
        check_scale("softmax_scale", softmax_scale)
    meta = tile_scheduler_metadata
    if type(meta) is not FlashMLASchedMeta:
        meta = metadata_of(tile_scheduler_metadata, num_splits)
    held = meta._held
    made = False
    dense = indices is None
    try:
        alike = (
            held is not None
            and held.causal is causal
            and held.is_fp8_kvcache is is_fp8_kvcache
            and held.dense is dense
        )
        if (
            alike
            and out is not None
            and lse is not None
            and held.work is meta.tile_scheduler_metadata
            and meta.have_initialized
            and not meta._by_tensors
            and held.core.run_current(
                cache_seqlens if dense else None, q, k_cache, block_table if dense else None, out,
                lse, attn_sink, indices, topk_length, extra_k_cache, extra_indices_in_kvcache,
                extra_topk_length, softmax_scale,
            )
        ):  # fmt: skip
            return out, lse  # the short way on a GPU
        if not alike or not _is_current(
            meta,
            held,
            tile_scheduler_metadata,
            cache_seqlens,
            held.stream_of(held.index) if held.on_gpu else 0,
            (q, k_cache, indices, extra_k_cache, extra_indices_in_kvcache),
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
                out = framework.empty(q, (b, s_q, h_q, HEAD_DIM_V))
            if lse is None:
                lse = framework.named(q, (b, h_q, s_q), "float32")
        stream = held.stream_of(held.index) if held.on_gpu else 0
        memory = held.plan.run_memory(stream)
        with Results() as results:
            held.core.run(
                q, k_cache, block_table if dense else None, out, results.place(lse), None,
                attn_sink, indices, topk_length, extra_k_cache, extra_indices_in_kvcache,
                extra_topk_length, softmax_scale, memory.address, memory.bytes, stream,
            )  # fmt: skip
    except FAILURES as failure:
        if not made and held is not None and not meta._by_tensors:
            # Perhaps not one tensor is wrong, but the call is another one than the schedule's.
            _explain(meta, (
                q, k_cache, block_table, cache_seqlens, causal, is_fp8_kvcache, indices,
                extra_k_cache, extra_indices_in_kvcache, topk_length, extra_topk_length,
            ))  # fmt: skip
        raise renamed(failure, DECODE_NAMES) from None
    if made:
        meta._commit(held)
    return out, lse


def _explain(meta, call):
    """Raises the error that names what differs from the schedule's first call, if anything does."""
    try:
        _, _, config = describe_call(*call)
    except FAILURES as clearer:
        raise renamed(clearer, DECODE_NAMES) from None
    try:
        _check_agreement(meta, config)
    except ValueError as clearer:
        raise clearer from None
