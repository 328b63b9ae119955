"""Dense decoding, verification of draft tokens and extension of drafts."""

import torch

from sglang.kernels.ops.attention.flash_mla_interface import (
    flash_mla_with_kvcache,
    get_mla_metadata,
)

PAGE_SIZE = 64


class FlashMLABackend:
    """num_draft_tokens: query tokens of a request in verification and extension."""

    def __init__(self, num_q_heads, max_pages, kv_cache_dtype, num_draft_tokens, device):
        self.num_q_heads = num_q_heads
        self.max_pages = max_pages
        self.num_draft_tokens = num_draft_tokens
        self.device = device
        self.is_fp8_kvcache = kv_cache_dtype in (torch.float8_e4m3fn, torch.float8_e5m2)
        self.graph_metadata = None
        self.table_buffer = None

    def _table(self, table):
        """A slice of a larger buffer, whose rows lie apart."""
        b, width = table.shape
        if self.table_buffer is None or self.table_buffer.shape[0] < b:
            shape = b + 2, self.max_pages
            self.table_buffer = torch.full(shape, -1, dtype=torch.int32, device=self.device)
        self.table_buffer[:b, :width] = table
        return self.table_buffer[:b, :width]

    def init_forward_metadata(self, seq_lens, table, s_q=1):
        """seq_lens: int64 [b], query tokens included."""
        self.block_kv_indices = self._table(table)
        self.flashmla_metadata, self.num_splits = get_mla_metadata(
            seq_lens.to(torch.int32), s_q * self.num_q_heads, 1, is_fp8_kvcache=self.is_fp8_kvcache
        )

    def init_cuda_graph_state(self, max_bs, multiprocessors):
        self.graph_metadata = torch.empty(
            (multiprocessors, 8), dtype=torch.int32, device=self.device
        )
        self.graph_num_splits = torch.empty(max_bs + 1, dtype=torch.int32, device=self.device)

    def init_forward_metadata_out_graph(self, seq_lens, table, s_q=1):
        """Copies the two tensors into the buffers that a graph's calls read."""
        self.init_forward_metadata(seq_lens, table, s_q)
        parts, b = self.flashmla_metadata.shape[0], len(seq_lens)
        assert parts <= self.graph_metadata.shape[0]
        self.graph_metadata[:parts].copy_(self.flashmla_metadata)
        self.graph_num_splits[: b + 1].copy_(self.num_splits)
        self.flashmla_metadata = self.graph_metadata[:parts]
        self.num_splits = self.graph_num_splits[: b + 1]

    def forward(self, q, k_cache, seq_lens, scaling):
        """One layer: q [b · s_q, h_q, 576], k_cache [tokens, 1, 576]; lengths converted anew."""
        bs = len(seq_lens)
        scales = {}
        if self.is_fp8_kvcache:
            q = q.to(torch.float8_e4m3fn)
            one = torch.ones((1,), dtype=torch.float32, device=self.device)
            scales = {"descale_q": one, "descale_k": one}
        o, lse = flash_mla_with_kvcache(
            q=q.view(bs, -1, self.num_q_heads, q.shape[-1]),
            k_cache=k_cache.view(-1, PAGE_SIZE, 1, k_cache.shape[-1]),
            block_table=self.block_kv_indices[:bs],
            cache_seqlens=seq_lens.to(torch.int32),
            head_dim_v=512,
            tile_scheduler_metadata=self.flashmla_metadata,
            num_splits=self.num_splits,
            softmax_scale=scaling,
            causal=True,
            **scales,
        )
        return o, lse
