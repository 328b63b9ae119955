"""flash_mla_with_kvcache: the name and the order that engines use."""

from __future__ import annotations

from ._arguments import flag, lse_form, renamed, shown
from ._call import DECODE_NAMES, check_format, describe_call, is_packed
from ._checks import FAILURES, HEAD_DIM_V, check_head_dim, checked_scale
from ._compiled import compiled_decode, is_compiling
from ._frameworks import Results, error, framework_of
from ._metadata import schedule_of
from ._plan import Plan
from ._schedule import Held

_PLUS = "+inf"
_NATURAL = (False, False)  # what lse_form gives for the defaults


def _make(source, invariant, cache_seqlens, tensors, call):
    """Plans and schedules a call; leaves the metadata as it is."""
    device, fields, config = call
    source._agree(config)
    fields["max_workers"] = source.max_workers
    fields["batch_invariant"] = invariant
    plan = Plan(fields, device)
    framework = plan.framework = framework_of(tensors[0], "q")
    on_gpu = device[0] == "cuda"
    known = source._known(tensors, framework.stream(device[1]) if on_gpu else 0, on_gpu)
    dense = fields["kind"] == "dense_decode"
    try:
        plan.schedule(cache_seqlens if dense else None)
    except ValueError as failure:
        raise _about_the_table(failure, fields) from None
    return Held(
        plan, plan.core, config, framework.stream, device[1], on_gpu, plan.array("work"),
        plan.array("split_offset"), dense, config.causal, config.is_fp8_kvcache,
        source.max_workers, invariant, cache_seqlens, **known,
    )  # fmt: skip


def _about_the_table(failure, fields):
    """Lengths beyond the block table: the same error, which says that the table may be wrong."""
    if getattr(failure, "argument", None) != "lengths" or "max_pages" not in failure.wanted:
        return failure
    pages, size = fields["max_pages"], fields["page_size"]
    wanted = f"0 … {pages * size}, what a block_table of {pages} pages of {size} holds"
    return error(ValueError, "lengths", failure.given, wanted)


def _check_engine_flags(enable_batch_invariant, use_legacy):
    flag("enable_batch_invariant", enable_batch_invariant)
    if use_legacy is not None:
        flag("use_legacy", use_legacy)


def _refuse_scales(descale_q, descale_k):
    for name, scale in (("descale_q", descale_q), ("descale_k", descale_k)):
        if scale is not None:
            wanted = "None: dense attention over an FP8 cache, whose scale it is, has no kernel yet"
            raise error(NotImplementedError, name, shown(scale), wanted)


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
    empty_lse=_PLUS,
    lse_base=None,
    enable_batch_invariant=False,
    use_legacy=None,
    kv_format=None,
    descale_q=None,
    descale_k=None,
):
    """Decoding over a paged latent cache: dense, or over the slots that `indices` names.

    schedule, _ = flash_mla.get_mla_metadata()        # once a decoding step
    out, lse = flash_mla.flash_mla_with_kvcache(      # once a layer
        q, k_cache, block_table, cache_seqlens, 512, schedule, causal=True
    )

    q: [b, s_q, h_q, d_qk] bf16 or fp16 (sparse: bf16), d_qk 576 or 512
    k_cache: [num_pages, page_block_size, h_kv, d_qk] of q's type; with indices and
        is_fp8_kvcache bytes (uint8, int8 or float8_e4m3fn): 656 a token where d_qk is 576 (V3.2),
        584 where it is 512 (V4), h_kv = 1
    block_table: int32 [b, max_pages]; cache_seqlens: int32 [b]; not read with indices
    head_dim_v: 512
    tile_scheduler_metadata, num_splits: what get_mla_metadata returned
    softmax_scale: d_qk ** -0.5 where None
    causal: query token t sees cache tokens j ≤ s_k − s_q + t
    is_fp8_kvcache: whether the cache is bytes; None: as it is. True changes nothing where the cache
        is bf16 or fp16 and there are no indices
    indices: int32 [b, s_q, topk] of page · page_block_size + offset; others are no token
    attn_sink: float32 [h_q], natural-log domain
    extra_k_cache, extra_indices_in_kvcache [b, s_q, extra_topk]: a second cache, same softmax
    topk_length, extra_topk_length: int32 [b], entries that count
    out, lse: where to write; allocated where None
    empty_lse: "+inf" or "-inf", lse of a query that sees no token
    lse_base: base of lse: 2; natural where None or math.e
    enable_batch_invariant: a request's output bits do not depend on the other requests
    use_legacy: changes nothing
    kv_format: name of the cache's format, where the tensors leave a choice: of today's none do
    descale_q, descale_k: of dense attention over an FP8 cache, which has no kernel yet

    Returns (out [b, s_q, h_q, 512] like q, lse float32 [b, h_q, s_q]). A query that sees no token
    gets out 0 and lse empty_lse.

    Runs on the device of q, on its current stream, without synchronising. Raises ValueError,
    TypeError or NotImplementedError naming the argument, what was given and what is wanted.
    """
    if is_compiling():
        return compiled_decode(
            q, k_cache, block_table, cache_seqlens, head_dim_v, softmax_scale, causal,
            is_fp8_kvcache, indices, attn_sink, extra_k_cache, extra_indices_in_kvcache,
            topk_length, extra_topk_length, tile_scheduler_metadata, num_splits, out, lse,
            empty_lse, lse_base, enable_batch_invariant, use_legacy, kv_format, descale_q,
            descale_k,
        )  # fmt: skip
    # NOTE: checked in the caller's loop over layers, hence no call where there is nothing to find.
    if type(head_dim_v) is not int or head_dim_v != HEAD_DIM_V:
        check_head_dim("head_dim_v", head_dim_v)
    if softmax_scale is not None and type(softmax_scale) is not float:
        softmax_scale = checked_scale("softmax_scale", softmax_scale)
    form = _NATURAL if lse_base is None and empty_lse is _PLUS else lse_form(empty_lse, lse_base)
    if enable_batch_invariant is not False or use_legacy is not None:
        _check_engine_flags(enable_batch_invariant, use_legacy)
    if descale_q is not None or descale_k is not None:
        _refuse_scales(descale_q, descale_k)
    if kv_format is not None:
        check_format(kv_format, q, k_cache, indices)
    if is_fp8_kvcache is None:
        is_fp8_kvcache = is_packed(k_cache)
    source = schedule_of(tile_scheduler_metadata, num_splits)
    invariant = source.batch_invariant or enable_batch_invariant
    held = source._held
    made = False
    dense = indices is None
    lengths = cache_seqlens if dense else None
    table = block_table if dense else None
    try:
        alike = (
            held is not None
            and held.causal is causal
            and held.is_fp8_kvcache is is_fp8_kvcache
            and held.dense is dense
            and (lengths is not None or not dense)
            and held.batch_invariant is invariant
            and held.max_workers == source.max_workers
        )
        if (
            alike
            and out is not None
            and lse is not None
            and source._holds(held)
            and held.core.run_current(
                lengths, q, k_cache, table, out, lse, attn_sink, indices, topk_length,
                extra_k_cache, extra_indices_in_kvcache, extra_topk_length, softmax_scale, *form,
            )
        ):  # fmt: skip
            return out, lse  # the short way on a GPU
        tensors = q, k_cache, indices, extra_k_cache, extra_indices_in_kvcache
        stream = held.stream_of(held.index) if alike and held.on_gpu else 0
        if not alike or not source._is_current(held, lengths, stream, tensors):
            call = describe_call(
                q, k_cache, block_table, cache_seqlens, causal, is_fp8_kvcache, indices,
                extra_k_cache, extra_indices_in_kvcache, topk_length, extra_topk_length,
            )  # fmt: skip
            held = _make(source, invariant, cache_seqlens, tensors, call)
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
                q, k_cache, table, out, results.place(lse), None, attn_sink, indices, topk_length,
                extra_k_cache, extra_indices_in_kvcache, extra_topk_length, softmax_scale,
                memory.address, memory.bytes, stream, *form,
            )  # fmt: skip
    except FAILURES as failure:
        if not made and held is not None:
            # Perhaps not one tensor is wrong, but the call is another one than the schedule's.
            _explain(source, (
                q, k_cache, block_table, cache_seqlens, causal, is_fp8_kvcache, indices,
                extra_k_cache, extra_indices_in_kvcache, topk_length, extra_topk_length,
            ))  # fmt: skip
        raise renamed(failure, DECODE_NAMES) from None
    if made or source is not tile_scheduler_metadata:
        source._commit(held)
    return out, lse


def _explain(source, call):
    """Raises the error that names what differs from the schedule's first call, if anything does."""
    try:
        _, _, config = describe_call(*call)
    except FAILURES as clearer:
        raise renamed(clearer, DECODE_NAMES) from None
    try:
        source._agree(config)
    except ValueError as clearer:
        raise clearer from None
