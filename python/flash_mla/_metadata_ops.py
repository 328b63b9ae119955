"""The operator of the older form's schedule, torch.ops.flashmla.metadata."""

from __future__ import annotations

import re

import torch

from ._frameworks import error
from ._library import define
from ._metadata import get_mla_metadata
from ._old_form import problem_of
from ._plan import Plan


def _metadata(
    cache_seqlens, num_q_tokens_per_head_k, num_heads_k, num_heads_q=None, is_fp8_kvcache=False,
    topk=None, max_workers=0, batch_invariant=False,
):  # fmt: skip
    tensors = get_mla_metadata(
        cache_seqlens, num_q_tokens_per_head_k, num_heads_k, num_heads_q, is_fp8_kvcache, topk,
        max_workers=max_workers, batch_invariant=batch_invariant,
    )  # fmt: skip
    # NOTE: copies, since the tensors are a plan's and an operator must own what it returns.
    return tuple(torch.empty_like(tensor).copy_(tensor) for tensor in tensors)


def _fake_metadata(
    cache_seqlens, num_q_tokens_per_head_k, num_heads_k, num_heads_q=None, is_fp8_kvcache=False,
    topk=None, max_workers=0, batch_invariant=False,
):  # fmt: skip
    if cache_seqlens.dim() != 1:
        given = f"{cache_seqlens.dtype}{list(cache_seqlens.shape)}"
        raise error(ValueError, "cache_seqlens", given, "int32 [b]")
    device, batch = cache_seqlens.device, cache_seqlens.shape[0]
    counts = {
        "num_q_tokens_per_head_k": num_q_tokens_per_head_k,
        "num_heads_k": num_heads_k,
        "num_heads_q": num_heads_q,
        "topk": topk,
    }
    fields = problem_of(counts, int(batch), is_fp8_kvcache, (max_workers, batch_invariant))
    index = 0 if device.type != "cuda" else (device.index or 0)
    # The tensor has a part for each worker of a plan. Planning takes the host alone.
    plan = Plan(fields, ("cuda" if device.type == "cuda" else "cpu", index))
    parts = int(re.search(r" (\d+) workers$", str(plan), re.MULTILINE)[1])
    return (
        cache_seqlens.new_empty((parts, 8), dtype=torch.int32),
        cache_seqlens.new_empty((batch + 1,), dtype=torch.int32),
    )


define(
    "metadata(Tensor cache_seqlens, int num_q_tokens_per_head_k, int num_heads_k, "
    "int? num_heads_q=None, bool is_fp8_kvcache=False, int? topk=None, int max_workers=0, "
    "bool batch_invariant=False) -> (Tensor, Tensor)",
    _metadata,
    _fake_metadata,
)
