"""Sparse attention of DeepSeek V4: a window's cache and a compressed one under one softmax."""

import functools

from sglang.kernels.ops.attention import flash_mla_interface


def page_bytes(page_size):
    """Bytes from page to page of the pool: a multiple of 576."""
    return -(-584 * page_size // 576) * 576


class DeepseekV4AttnBackend:
    """interleaved: the layout of DeepSeek V4.1's cache, which is what use_legacy=False is for."""

    def __init__(self, softmax_scale, interleaved=False):
        self.softmax_scale = softmax_scale
        self._flash_mla_with_kvcache = functools.partial(
            flash_mla_interface.flash_mla_with_kvcache, use_legacy=not interleaved
        )
        assert flash_mla_interface.SPLIT_KV_MIN_TOPK > 0
        self.init_forward_metadata()

    def init_forward_metadata(self):
        self.flashmla_metadata = flash_mla_interface.get_mla_metadata()[0]

    @staticmethod
    def _pages(pool, page_size):
        """Pages of a pool [num_pages, page_bytes], without the bytes behind the last token."""
        return pool[:, : page_size * 584].view(pool.shape[0], page_size, 1, 584)

    def forward(self, q, pool, page_size, indices, lengths, attn_sink, extra):
        """extra: (pool, page_size, indices, lengths), or None in layers without compression."""
        extra_pool, extra_size, extra_indices, extra_lengths = extra or (None,) * 4
        o = self._flash_mla_with_kvcache(
            q=q.unsqueeze(1),
            k_cache=self._pages(pool, page_size),
            head_dim_v=512,
            block_table=None,
            cache_seqlens=None,
            tile_scheduler_metadata=self.flashmla_metadata,
            softmax_scale=self.softmax_scale,
            is_fp8_kvcache=True,
            indices=indices.unsqueeze(1),
            topk_length=lengths,
            attn_sink=attn_sink,
            extra_k_cache=None if extra is None else self._pages(extra_pool, extra_size),
            extra_indices_in_kvcache=None if extra is None else extra_indices.unsqueeze(1),
            extra_topk_length=extra_lengths,
        )[0]
        return o.squeeze(1)

    def _forward_prefill_sparse(self, q, workspace, indices, lengths, attn_sink):
        o, _, _ = flash_mla_interface.flash_mla_sparse_fwd(
            q=q,
            kv=workspace,
            indices=indices.unsqueeze(1),
            sm_scale=self.softmax_scale,
            d_v=512,
            attn_sink=attn_sink,
            topk_length=lengths,
        )
        return o
