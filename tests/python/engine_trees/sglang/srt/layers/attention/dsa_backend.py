"""Sparse attention of DeepSeek V3.2: over the FP8 cache, and over a bf16 cache by prefill."""

import torch


class DeepseekSparseAttnBackend:
    """Pads the heads to 64 where the model has fewer on this GPU."""

    def __init__(self, num_q_heads, topk, kv_format="V32"):
        self.flashmla_kv_num_q_heads = 64
        self.num_q_heads = num_q_heads
        self.dsa_index_topk = topk
        self.flashmla_kv_format = kv_format

    def _padded(self, q, heads):
        padded = q.new_zeros((*q.shape[:-2], heads, q.shape[-1]))
        padded[..., : q.shape[-2], :] = q
        return padded

    def _compute_flashmla_metadata(self, cache_seqlens, seq_len_q=1):
        from sglang.kernels.ops.attention.flash_mla_interface import get_mla_metadata

        heads = self.flashmla_kv_num_q_heads
        self.flashmla_metadata, self.num_splits = get_mla_metadata(
            cache_seqlens=cache_seqlens,
            num_q_tokens_per_head_k=seq_len_q * heads // 1,
            num_heads_k=1,
            num_heads_q=heads,
            is_fp8_kvcache=True,
            topk=self.dsa_index_topk,
        )

    def _forward_flashmla_kv(self, q_all, kv_cache, v_head_dim, sm_scale, lens, page_table_1):
        """q_all [tokens, h_q, d_qk], kv_cache bytes, page_table_1 [tokens, topk]."""
        from sglang.kernels.ops.attention.flash_mla_interface import flash_mla_with_kvcache

        q = q_all.view(-1, 1, self.num_q_heads, q_all.shape[-1])
        o, _ = flash_mla_with_kvcache(
            q=self._padded(q, self.flashmla_kv_num_q_heads),
            k_cache=kv_cache.view(-1, 64, 1, kv_cache.shape[-1]),
            cache_seqlens=lens,
            head_dim_v=v_head_dim,
            tile_scheduler_metadata=self.flashmla_metadata,
            num_splits=self.num_splits,
            softmax_scale=sm_scale,
            indices=page_table_1.unsqueeze(1),
            block_table=torch.empty((len(q), 0), dtype=torch.int32, device=q.device),
            is_fp8_kvcache=True,
            kv_format=self.flashmla_kv_format,
        )
        return o[:, :, : self.num_q_heads, :]

    def _forward_flashmla_sparse(
        self, q_all, kv_cache, v_head_dim, page_table_1, sm_scale, topk_length, attn_sink
    ):
        from sglang.kernels.ops.attention.flash_mla_interface import flash_mla_sparse_fwd

        sink = None
        if attn_sink is not None:
            sink = attn_sink.new_zeros(64)
            sink[: self.num_q_heads].copy_(attn_sink)
        o, _, _ = flash_mla_sparse_fwd(
            q=self._padded(q_all, 64),
            kv=kv_cache,
            indices=page_table_1.unsqueeze(1),
            sm_scale=sm_scale,
            d_v=v_head_dim,
            attn_sink=sink,
            topk_length=topk_length,
        )
        return o[:, : self.num_q_heads, :]
