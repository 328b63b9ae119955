"""flash_mla_with_kvcache: the name and the order that engines use."""

from __future__ import annotations

from ._arguments import flag, shown
from ._call import DECODE_NAMES, Call, check_format, is_packed, query_parts
from ._checks import HEAD_DIM_V, check_head_dim, checked_scale
from ._compiled import check_keywords, compiled_decode, is_compiling
from ._frameworks import error
from ._metadata import schedule_of
from ._schedule import run_scheduled


def _check_engine_flags(enable_batch_invariant, use_legacy):
    flag("enable_batch_invariant", enable_batch_invariant)
    if use_legacy is not None:
        flag("use_legacy", use_legacy)


def _refuse_scales(descale_q, descale_k):
    for name, scale in (("descale_q", descale_q), ("descale_k", descale_k)):
        if scale is not None:
            wanted = "None: dense attention over an FP8 cache has no kernel yet"
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
    empty_lse="+inf",
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

    q: [b, s_q, h_q, d_qk] bf16 or fp16 (sparse: bf16), d_qk 576 or 512; or a pair of tensors, its
        first d_qk - 64 columns and its last 64, in dense decoding where the backend takes it
    k_cache: [num_pages, page_block_size, h_kv, d_qk] of q's type; with indices and
        is_fp8_kvcache bytes (uint8, int8 or float8_e4m3fn): 656 a token where d_qk is 576 (V3.2),
        584 where it is 512 (V4), h_kv = 1
    block_table: int32 [b, max_pages]; cache_seqlens: int32 [b]; not read with indices
    head_dim_v: 512
    tile_scheduler_metadata, num_splits: what get_mla_metadata returned
    softmax_scale: d_qk ** -0.5 where None
    causal: query token t sees cache tokens j ≤ s_k − s_q + t
    is_fp8_kvcache: whether the cache is bytes; None: the type of the cache decides. True changes
        nothing where the cache is bf16 or fp16 and there are no indices
    indices: int32 [b, s_q, topk] of page · page_block_size + offset; an entry outside the cache is
        no token
    attn_sink: float32 [h_q], natural-log domain
    extra_k_cache, extra_indices_in_kvcache [b, s_q, extra_topk]: a second cache under the same
        softmax
    topk_length, extra_topk_length: int32 [b], entries that count
    out, lse: where to write; allocated where None
    empty_lse: "+inf" or "-inf", lse of a query that sees no token
    lse_base: base of lse: 2; natural where None or math.e
    enable_batch_invariant: a request's output bits do not depend on the other requests
    use_legacy: changes nothing
    kv_format: name of the cache's format; the tensors alone tell every format of today
    descale_q, descale_k: scales of dense attention over an FP8 cache, which has no kernel yet

    Returns (out [b, s_q, h_q, 512] like q, lse float32 [b, h_q, s_q]). A query that sees no token
    gets out 0 and lse empty_lse.

    Runs on the device of q, on its current stream, without synchronising. Raises ValueError,
    TypeError or NotImplementedError naming the argument, what was given and what is wanted.
    """
    q_rotary = None
    if type(q) is tuple:
        q, q_rotary = query_parts(q)
    call = Call(DECODE_NAMES, q, k_cache)
    call.q_rotary = q_rotary
    call.out, call.lse = out, lse
    call.softmax_scale, call.attn_sink = softmax_scale, attn_sink
    call.causal, call.is_fp8_kvcache = causal, is_fp8_kvcache
    call.batch_invariant = enable_batch_invariant
    if indices is None:
        call.block_table, call.lengths = block_table, cache_seqlens
    call.indices, call.topk_length = indices, topk_length
    call.extra_kv_cache, call.extra_indices = extra_k_cache, extra_indices_in_kvcache
    call.extra_topk_length = extra_topk_length
    if is_compiling():
        check_keywords(call, head_dim_v, use_legacy, kv_format, descale_q, descale_k)
        return compiled_decode(call, tile_scheduler_metadata, num_splits, empty_lse, lse_base)
    # NOTE: runs in the caller's loop over layers, so a check is called only where it may refuse.
    if type(head_dim_v) is not int or head_dim_v != HEAD_DIM_V:
        check_head_dim("head_dim_v", head_dim_v)
    if softmax_scale is not None and type(softmax_scale) is not float:
        call.softmax_scale = checked_scale("softmax_scale", softmax_scale)
    call.set_lse_form(empty_lse, lse_base)
    if enable_batch_invariant is not False or use_legacy is not None:
        _check_engine_flags(enable_batch_invariant, use_legacy)
    if descale_q is not None or descale_k is not None:
        _refuse_scales(descale_q, descale_k)
    if kv_format is not None:
        check_format(call, kv_format)
    if is_fp8_kvcache is None:
        call.is_fp8_kvcache = is_packed(call)
    run_scheduled(schedule_of(tile_scheduler_metadata, num_splits), call)
    return call.out, call.lse
