"""FlashMLA as an attention backend of vLLM: `--attention-backend CUSTOM`.

vLLM imports this module when the backend is chosen. Prefill is that of vLLM's MLA backends; dense
decoding over bf16 and fp16 caches is FlashMLA's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from vllm import envs
from vllm.model_executor.layers.attention.mla_attention import (
    MLACommonBackend,
    MLACommonDecodeMetadata,
    MLACommonImpl,
    MLACommonMetadata,
    MLACommonMetadataBuilder,
    QueryLenSupport,
)
from vllm.v1.attention.backend import AttentionCGSupport, AttentionType, MultipleOf

from .._decode import flash_mla_with_kvcache
from .._metadata import FlashMLASchedMeta, get_mla_metadata
from ._engine import is_hopper
from ._serving import takes_two_parts

_PAGE_SIZE = 64  # one block of the kernels, so that a block is in one page
_QK_DIMS = 512, 576


class Backend(MLACommonBackend):
    """What vLLM asks before it takes the backend."""

    supported_dtypes: ClassVar = [torch.float16, torch.bfloat16]
    supported_kv_cache_dtypes: ClassVar = ["auto", "float16", "bfloat16"]

    @staticmethod
    def get_name():
        return "CUSTOM"

    @staticmethod
    def get_builder_cls():
        return Builder

    @staticmethod
    def get_impl_cls():
        return Impl

    @staticmethod
    def get_supported_kernel_block_sizes(kv_cache_spec=None):
        return [MultipleOf(1)]

    @classmethod
    def get_preferred_block_size(cls, default_block_size):
        return _PAGE_SIZE

    @classmethod
    def get_supported_head_sizes(cls):
        return [size for size in super().get_supported_head_sizes() if size in _QK_DIMS]

    @staticmethod
    def get_kv_cache_stride_order(include_num_layers_dimension=False):
        # Pages may lie apart, so that all layers' caches may be in one tensor. Before vLLM 0.29.
        return (1, 0, 2, 3) if include_num_layers_dimension else (0, 1, 2)

    @classmethod
    def supports_compute_capability(cls, capability):
        return is_hopper(capability)

    @classmethod
    def supports_batch_invariance(cls):
        return True

    @classmethod
    def supports_device_cpu_query_lens_mismatch(cls):
        return False  # the number of query tokens of a request is the shape of q


@dataclass
class DecodeMetadata(MLACommonDecodeMetadata):
    """What all layers of a step share. The first layer plans the schedule."""

    schedule: FlashMLASchedMeta


class Builder(MLACommonMetadataBuilder[MLACommonMetadata[DecodeMetadata]]):
    """Makes a step's metadata. It reads nothing of the step on the host, and waits for no GPU."""

    # A graph plans when it is replayed, from the lengths on the GPU.
    _cudagraph_support: ClassVar = AttentionCGSupport.UNIFORM_BATCH
    query_len_support: ClassVar = QueryLenSupport.UNIFORM
    reorder_batch_threshold: int = 128  # query tokens of a short prompt that decoding takes along

    def __init__(self, kv_cache_spec, layer_names, vllm_config, device):
        super().__init__(kv_cache_spec, layer_names, vllm_config, device, MLACommonMetadata)

    # vLLM passes all by name, and further numbers in later versions.
    def _build_decode(
        self, *, block_table_tensor, seq_lens_device, dcp_tot_seq_lens_device, **unused
    ):
        schedule, _ = get_mla_metadata(batch_invariant=bool(envs.VLLM_BATCH_INVARIANT))
        return DecodeMetadata(
            block_table=block_table_tensor,
            seq_lens=seq_lens_device,
            dcp_tot_seq_lens=dcp_tot_seq_lens_device,
            schedule=schedule,
        )


class Impl(MLACommonImpl[MLACommonMetadata]):
    """Attention of one layer."""

    can_return_lse_for_decode: bool = True
    supports_dcp: bool = True

    def __init__(
        self, num_heads, head_size, scale, num_kv_heads, alibi_slopes, sliding_window,
        kv_cache_dtype, logits_soft_cap, attn_type, kv_sharing_target_layer_name, **mla,
    ):  # fmt: skip
        super().__init__(
            num_heads, head_size, scale, num_kv_heads, alibi_slopes, sliding_window,
            kv_cache_dtype, logits_soft_cap, attn_type, kv_sharing_target_layer_name, **mla,
        )  # fmt: skip
        for name, value in (
            ("alibi_slopes", alibi_slopes),
            ("sliding_window", sliding_window),
            ("logits_soft_cap", logits_soft_cap),
        ):
            if value:
                raise NotImplementedError(f"{name}: FlashMLA's backend has none")
        if attn_type != AttentionType.DECODER:
            raise NotImplementedError(f"attn_type: FlashMLA's backend has no attention {attn_type}")

    def forward_mqa(self, q, kv_c_and_k_pe_cache, attn_metadata, layer):
        """(out [tokens, heads, 512], lse) of the decoding part of a batch.

        q: [tokens, heads, d_qk], or a pair of its first d_qk - 64 columns and its last 64
        kv_c_and_k_pe_cache: [num_pages, page_size, d_qk]

        lse is [tokens, heads], −inf where a query sees no token, where context parallelism merges
        by it; else None.
        """
        step = attn_metadata.decode
        merged = self.need_to_return_lse_for_decode
        out, lse = flash_mla_with_kvcache(
            self._query(q, kv_c_and_k_pe_cache, attn_metadata.num_decodes),
            kv_c_and_k_pe_cache.unsqueeze(2),
            step.block_table,
            step.seq_lens,
            self.kv_lora_rank,
            step.schedule,
            softmax_scale=self.scale,
            causal=True,
            empty_lse="-inf" if merged else "+inf",
        )
        return out.flatten(0, 1), lse.transpose(1, 2).flatten(0, 1) if merged else None

    def _query(self, q, cache, requests):
        """q as flash_mla_with_kvcache takes it: [requests, tokens of each, heads, …]."""
        if not isinstance(q, tuple):
            return q.unflatten(0, (requests, -1))
        latent, rotary = q
        if rotary.shape[-1] == 0:  # a model without rotary part
            return latent.unflatten(0, (requests, -1))
        if takes_two_parts(latent, rotary, cache):
            return latent.unflatten(0, (requests, -1)), rotary.unflatten(0, (requests, -1))
        return torch.cat(q, dim=-1).unflatten(0, (requests, -1))
