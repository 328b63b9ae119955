"""Names that engines import from packages that grew out of the existing one."""

from __future__ import annotations

from ._arguments import flag, shown
from ._call import NO_DENSE_FP8
from ._frameworks import error
from ._old_form import make_tensors


def has_legacy():
    """True: the kernels for Hopper are what sgl-flash-mla calls its legacy kernels."""
    return True


def get_mla_decoding_metadata(
    seqlens_k,
    num_q_tokens_per_head_k,
    h_k,
    h_q=None,
    is_fp8_kvcache=False,
    topk=None,
    use_legacy=False,
):
    """The two tensors of :func:`get_mla_metadata`'s older form, under sgl-flash-mla's names.

    seqlens_k: int32 [b], tokens in each request's cache
    num_q_tokens_per_head_k: s_q · h_q / h_k
    h_k: KV heads; h_q: query heads, which only sparse attention needs
    is_fp8_kvcache: whether the cache of sparse attention is FP8
    topk: entries of a query token's index list; None in dense decoding
    use_legacy: changes nothing

    Returns int32 [parts, 8] and [b + 1]. Raises ValueError or TypeError naming the argument.
    """
    flag("is_fp8_kvcache", is_fp8_kvcache)
    flag("use_legacy", use_legacy)
    counts = {"num_q_tokens_per_head_k": num_q_tokens_per_head_k, "h_k": h_k, "h_q": h_q}
    return make_tensors("seqlens_k", seqlens_k, {**counts, "topk": topk}, is_fp8_kvcache)


def get_mla_metadata_dense_fp8(cache_seqlens, num_q_tokens_per_head_k, num_heads_k):
    """The two tensors of a dense call over an FP8 cache; arguments as in get_mla_metadata."""
    counts = {
        "num_q_tokens_per_head_k": num_q_tokens_per_head_k,
        "num_heads_k": num_heads_k,
        "num_heads_q": None,
        "topk": None,
    }
    return make_tensors("cache_seqlens", cache_seqlens, counts, True)


def flash_mla_with_kvcache_fp8(
    q,
    k_cache,
    block_table,
    cache_seqlens,
    head_dim_v,
    tile_scheduler_metadata,
    num_splits,
    softmax_scale=None,
    causal=False,
    descale_q=None,
    descale_k=None,
):
    """Dense decoding over an FP8 cache. Raises NotImplementedError: its kernel is still to come."""
    raise error(NotImplementedError, "k_cache", shown(k_cache), NO_DENSE_FP8)
