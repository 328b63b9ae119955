"""Sparse attention of DeepSeek V4: the compressed cache first, the window's cache as the extra."""


class TritonV4AttentionImpl:
    def __init__(self, head_size, scale):
        import flash_mla

        self.flash_mla = flash_mla
        self.head_size = head_size
        self.scale = scale
        self.sched_meta = None  # of a step

    def decode(self, query, cache, indices, lengths, sink, extra_cache, extra_indices, extra_lens):
        """cache [num_pages, page_size, 584]; query is padded to 64 heads."""
        if self.sched_meta is None:
            self.sched_meta, _ = self.flash_mla.get_mla_metadata()
        output, _ = self.flash_mla.flash_mla_with_kvcache(
            query,
            k_cache=cache.unsqueeze(2),
            block_table=None,
            cache_seqlens=None,
            head_dim_v=self.head_size,
            tile_scheduler_metadata=self.sched_meta,
            softmax_scale=self.scale,
            causal=False,
            is_fp8_kvcache=True,
            indices=indices,
            attn_sink=sink,
            extra_k_cache=extra_cache,
            extra_indices_in_kvcache=extra_indices,
            topk_length=lengths,
            extra_topk_length=extra_lens,
        )
        return output

    def prefill(self, query, flat_kv, indices, sink, lengths):
        return self.flash_mla.flash_mla_sparse_fwd(
            query, flat_kv, indices, sm_scale=self.scale, attn_sink=sink, topk_length=lengths
        )[0]
