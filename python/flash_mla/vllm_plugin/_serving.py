"""Whether the library serves a call. The library is asked, and its answer is kept.

Planning takes the host alone, so that a call can be asked about while a CUDA graph is recorded.
"""

from __future__ import annotations

from .._call import DECODE_NAMES, Call, describe
from .._checks import FAILURES
from .._plan import Plan, plan

# The arguments that a vendored flash_mla_with_kvcache takes, in its order.
DECODE_ORDER = (
    "q", "k_cache", "block_table", "cache_seqlens", "head_dim_v", "tile_scheduler_metadata",
    "num_splits", "softmax_scale", "causal", "is_fp8_kvcache", "indices", "attn_sink",
    "extra_k_cache", "extra_indices_in_kvcache", "topk_length", "extra_topk_length", "out",
    "enable_batch_invariant",
)  # fmt: skip
PREFILL_ORDER = ("q", "kv", "indices", "sm_scale", "d_v", "attn_sink", "topk_length", "out")

_refusals: dict = {}


def by_name(order, arguments, named):
    """{argument: value} of a call, or None where an argument is none of these."""
    given = dict(zip(order, arguments), **named)
    known = len(arguments) <= len(order) and given.keys() <= set(order)
    return given if known and len(given) == len(arguments) + len(named) else None


def _kept(key, refusal):
    """The answer to the question of this key, asked at most once."""
    if key not in _refusals:
        try:
            refusal()
            _refusals[key] = ""
        except FAILURES as failure:
            _refusals[key] = str(failure)
    return _refusals[key]


def _rows(tensor, first):
    """What of a tensor's shape and type the backends' answers depend on."""
    return None if tensor is None else (tensor.shape[first:], tensor.dtype)


def decode_refusal(given):
    """Why no backend serves this call of flash_mla_with_kvcache; "" where one does."""
    q, indices = given["q"], given.get("indices")
    # Numbers of requests and of query tokens change from step to step, and refuse no call.
    key = (
        "decode", q.device, _rows(q, 2), _rows(given["k_cache"], 1), _rows(indices, 2),
        _rows(given.get("extra_k_cache"), 1), _rows(given.get("extra_indices_in_kvcache"), 2),
        given.get("causal", False), given.get("is_fp8_kvcache", False),
    )  # fmt: skip

    def ask():
        call = Call(DECODE_NAMES, q, given["k_cache"])
        call.causal, call.is_fp8_kvcache = given.get("causal", False), bool(key[-1])
        call.indices, call.topk_length = indices, given.get("topk_length")
        call.extra_kv_cache = given.get("extra_k_cache")
        call.extra_indices = given.get("extra_indices_in_kvcache")
        call.extra_topk_length = given.get("extra_topk_length")
        if indices is None:
            call.block_table, call.lengths = given["block_table"], given["cache_seqlens"]
        device, fields, _ = describe(call)
        Plan(fields, device)

    return _kept(key, ask)


def prefill_refusal(given):
    """Why no backend serves this call of flash_mla_sparse_fwd; "" where one does."""
    q, kv, indices = given["q"], given["kv"], given["indices"]

    def ask():
        s_q, h_q, d_qk = q.shape
        plan(
            "sparse_prefill", device=q.device, query_tokens=s_q, query_heads=h_q, qk_dim=d_qk,
            kv_heads=kv.shape[1], topk=indices.shape[2], dtype=q.dtype, kv_format=kv.dtype,
        )  # fmt: skip

    return _kept(("prefill", q.device, _rows(q, 1), _rows(kv, 1), _rows(indices, 1)), ask)


def takes_two_parts(latent, rotary, cache):
    """Whether dense decoding takes the query as it comes: as two tensors [tokens, heads, …].

    cache: [num_pages, page_size, d_qk]
    """

    def ask():
        plan(
            device=latent.device, dtype=latent.dtype, query_heads=latent.shape[1], max_pages=1,
            qk_dim=latent.shape[2] + rotary.shape[2], page_size=cache.shape[1], causal=True,
            split_query=True,
        )  # fmt: skip

    key = "two parts", latent.device, _rows(latent, 1), _rows(rotary, 1), _rows(cache, 1)
    return not _kept(key, ask)
