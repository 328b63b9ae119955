"""Decoding over a paged cache, dense or with indices, and the schedule that graphs read."""

import torch


def build_flash_mla_metadata(
    kv_seqlens, num_attention_heads, decoding_query_len, is_fp8_kvcache, index_topk
):
    import flash_mla

    rows = num_attention_heads * decoding_query_len
    return flash_mla.get_mla_metadata(
        kv_seqlens.to(torch.int32),
        rows,
        num_heads_k=1,
        num_heads_q=None if index_topk is None else rows,
        is_fp8_kvcache=is_fp8_kvcache,
        topk=index_topk,
    )


class FlashMLAImpl:
    def __init__(self, num_heads, scale, index_topk=None, is_fp8_kvcache=False):
        import flash_mla

        self.flash_mla_with_kvcache = flash_mla.flash_mla_with_kvcache
        self.num_heads = num_heads
        self.scale = scale
        self.options = {"is_fp8_kvcache": is_fp8_kvcache, "index_topk": index_topk}

    def _build(self, kv_seqlens, query_len):
        return build_flash_mla_metadata(kv_seqlens, self.num_heads, query_len, **self.options)

    def make_cudagraph_buffer(self, max_batchs, query_len, device):
        ones = torch.ones(max_batchs, dtype=torch.int32, device=device)
        self.scheduler_metadata = self._build(ones, query_len)

    def fill_cudagraph_buffer(self, kv_seqlens, query_len):
        """Copies a step's schedule into the buffers, which are an earlier step's tensors."""
        work, num_splits = self.scheduler_metadata
        assert isinstance(work, torch.Tensor)
        new_work, new_splits = self._build(kv_seqlens, query_len)
        work.copy_(new_work)
        num_splits.copy_(new_splits)

    def decoding_paged(self, query, k_cache, block_offsets, kv_seqlens, indices=None, causal=True):
        """query [b · s_q, h_q, d_qk] → [b · s_q, h_q, 512]."""
        b = len(kv_seqlens)
        work, num_splits = self.scheduler_metadata
        output, _ = self.flash_mla_with_kvcache(
            query.unflatten(0, (b, len(query) // b)),
            k_cache=k_cache,
            block_table=block_offsets,
            cache_seqlens=kv_seqlens.to(torch.int32),
            head_dim_v=512,
            softmax_scale=self.scale,
            tile_scheduler_metadata=work,
            num_splits=num_splits,
            causal=causal,
            is_fp8_kvcache=k_cache.dtype == torch.float8_e4m3fn,
            indices=indices,
        )
        return output.flatten(0, 1)
