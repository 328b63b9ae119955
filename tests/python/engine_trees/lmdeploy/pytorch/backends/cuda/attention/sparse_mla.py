"""Sparse attention over a bf16 cache: one call for prefill and for decoding."""

import torch

INDEX_STRIDE = 64  # elements between two rows that an index can name


def _sparse_forward(query, indexed_kv, indices, scale):
    import flash_mla

    heads = query.size(1)
    query = torch.nn.functional.pad(query, (0, 0, 0, -heads % 64))
    return flash_mla.flash_mla_sparse_fwd(query, indexed_kv, indices, sm_scale=scale)[0][:, :heads]


def prefill_sparse(query, flatten_k, indices, scale):
    return _sparse_forward(query, flatten_k, indices, scale)


def decoding_sparse_bf16(query, k_cache, slots, scale):
    """The cache as rows that start every 64 elements and overlap; slots int32 [b · s_q, topk]."""
    num_pages, page_size = k_cache.shape[:2]
    page_stride, token_stride = k_cache.stride()[:2]
    last = (num_pages - 1) * page_stride + (page_size - 1) * token_stride
    rows = k_cache.as_strided(
        (last // INDEX_STRIDE + 1, *k_cache.shape[2:]), (INDEX_STRIDE, *k_cache.stride()[2:])
    )
    offsets = slots // page_size * page_stride + slots % page_size * token_stride
    indices = torch.where(slots < 0, slots, offsets // INDEX_STRIDE).int()
    return _sparse_forward(query, rows, indices[:, None], scale)
