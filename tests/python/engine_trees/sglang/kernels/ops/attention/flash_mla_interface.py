"""The one file of SGLang that imports flash_mla. Its backends import the functions below."""

import flash_mla
from flash_mla import fused_norm_rope_attn_rope_cast as fused
from flash_mla.flash_mla_interface import FlashMLASchedMeta

SPLIT_KV_MIN_TOPK = 641


def get_mla_metadata(
    cache_seqlens=None,
    num_q_tokens_per_head_k=None,
    num_heads_k=None,
    num_heads_q=None,
    is_fp8_kvcache=False,
    topk=None,
):
    if cache_seqlens is None:
        return flash_mla.get_mla_metadata()[0], None
    counts = num_q_tokens_per_head_k, num_heads_k, num_heads_q
    return flash_mla.get_mla_decoding_metadata(
        cache_seqlens, *counts, is_fp8_kvcache, topk, use_legacy=True
    )


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
    descale_q=None,
    descale_k=None,
    is_fp8_kvcache=False,
    indices=None,
    attn_sink=None,
    extra_k_cache=None,
    extra_indices_in_kvcache=None,
    topk_length=None,
    extra_topk_length=None,
    kv_format=None,
    *,
    use_legacy=True,
):
    meta = tile_scheduler_metadata
    if not isinstance(meta, FlashMLASchedMeta):
        meta = FlashMLASchedMeta(tile_scheduler_metadata=meta, num_splits=num_splits)
        if indices is None:
            is_fp8_kvcache = q.element_size() == 1
        elif kv_format is None and q.shape[-1] == 512 and k_cache.shape[-1] == 528:
            kv_format = "V32_NO_ROPE"
    return flash_mla.flash_mla_with_kvcache(
        q=q,
        k_cache=k_cache,
        block_table=block_table,
        cache_seqlens=cache_seqlens,
        head_dim_v=head_dim_v,
        tile_scheduler_metadata=meta,
        softmax_scale=q.shape[-1] ** -0.5 if softmax_scale is None else softmax_scale,
        causal=causal,
        is_fp8_kvcache=is_fp8_kvcache,
        indices=indices,
        attn_sink=attn_sink,
        extra_k_cache=extra_k_cache,
        extra_indices_in_kvcache=extra_indices_in_kvcache,
        topk_length=topk_length,
        extra_topk_length=extra_topk_length,
        use_legacy=use_legacy,
        kv_format=kv_format,
        descale_q=descale_q,
        descale_k=descale_k,
    )


def flash_mla_sparse_fwd(
    q, kv, indices, sm_scale, d_v=512, attn_sink=None, topk_length=None, *, use_legacy=True
):
    return flash_mla.flash_mla_sparse_fwd(
        q,
        kv,
        indices,
        sm_scale,
        d_v,
        attn_sink,
        topk_length,
        use_legacy=use_legacy,
        return_log2_lse=True if use_legacy else None,
    )


def _fused_arguments(q, positions, cos_sin_cache, softmax_scale):
    return {
        "token_positions": positions,
        "cos_sin_cache": cos_sin_cache,
        "n_wv_group": q.shape[1] // 8,
        "q": q,
        "sm_scale": softmax_scale,
        "attn_sink": None,
        "topk_length": None,
        "enable_q_norm": False,
        "rms_norm_eps": 0.0,
        "use_legacy": True,
        "is_rope_neox_style": False,
        "rope_dim": 64,
        "num_per_channels": 32,
        "use_tma_aligned_col_major_sf": True,
        "round_sf": True,
        "use_packed_ue8m0": True,
    }


def flash_mla_mega_prefill(q, kv, indices, positions, cos_sin_cache, softmax_scale):
    return fused.prefill(
        kv=kv,
        indices=indices,
        **_fused_arguments(q, positions, cos_sin_cache, softmax_scale),
    )


def flash_mla_mega_decode(q, kv, indices, positions, cos_sin_cache, softmax_scale):
    return fused.decode(
        k_cache=kv,
        indices_in_kvcache=indices,
        extra_k_cache=None,
        extra_indices_in_kvcache=None,
        extra_topk_length=None,
        **_fused_arguments(q, positions, cos_sin_cache, softmax_scale),
    )
