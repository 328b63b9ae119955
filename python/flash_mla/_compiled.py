"""The engines' functions inside of torch.compile, where they call the operators.

The operators are reached by name: this module imports no module that defines them.
"""

from __future__ import annotations

from ._arguments import scale_arguments
from ._call import KNOWN_FORMATS
from ._checks import HEAD_DIM_V
from ._frameworks import is_compiling as is_compiling
from ._frameworks import torch
from ._metadata import FlashMLASchedMeta

_PLAIN = {} if torch is None else {torch.bfloat16: "bf16", torch.float16: "fp16"}


def empty_outputs(q):
    """Memory for (out, lse) of a decoding call: real tensors or a trace's, as q is one."""
    b, s_q, h_q, _ = q.shape
    return q.new_empty((b, s_q, h_q, HEAD_DIM_V)), q.new_empty((b, h_q, s_q), dtype=torch.float32)


def _check_numbers(dim_name, dim, scale_name, scale):
    # NOTE: plain exceptions: Dynamo traces no assignment to an exception's attributes.
    if isinstance(dim, bool) or dim != HEAD_DIM_V:
        raise ValueError(f"{dim_name}: given {dim}, wanted {HEAD_DIM_V}")
    if isinstance(scale, bool):
        raise TypeError(f"{scale_name}: given {scale}, wanted a number; flags come behind it")


def _check_flags(call, use_legacy):
    for name, flag, others in (
        ("causal", call.causal, ()),
        ("is_fp8_kvcache", call.is_fp8_kvcache, (None,)),
        ("enable_batch_invariant", call.batch_invariant, ()),
        ("use_legacy", use_legacy, (None,)),
    ):
        if not isinstance(flag, bool) and flag not in others:
            raise TypeError(f"{name}: given {flag}, wanted True or False")


def _is_packed(call):
    return call.indices is not None and call.kv_cache.dtype.itemsize == 1


def check_keywords(call, head_dim_v, use_legacy, kv_format, descale_q, descale_k):
    """Checks what a traced call of flash_mla_with_kvcache has beside its tensors."""
    _check_numbers("head_dim_v", head_dim_v, "softmax_scale", call.softmax_scale)
    _check_flags(call, use_legacy)
    for name, scale in (("descale_q", descale_q), ("descale_k", descale_k)):
        if scale is not None:
            raise NotImplementedError(
                f"{name}: given a scale, wanted None: dense attention over an FP8 cache has no "
                "kernel yet"
            )
    if kv_format is None:
        return
    if _is_packed(call):
        found = {576: "v32", 512: "v4"}.get(call.q.shape[-1])
    else:
        found = _PLAIN.get(call.kv_cache.dtype)
    if not isinstance(kv_format, str) or KNOWN_FORMATS.get(kv_format.lower()) != found:
        raise ValueError(f"kv_format: given {kv_format}, wanted {found}, as k_cache and q say")


def _options(metadata, num_splits, enable_batch_invariant):
    """The options of the plan that a schedule asks for."""
    if not isinstance(metadata, FlashMLASchedMeta):
        if not hasattr(metadata, "shape"):
            given = "None" if metadata is None else f"a {type(metadata).__name__}"
            raise TypeError(
                f"tile_scheduler_metadata: given {given}, wanted one of get_mla_metadata"
            )
        invariant = metadata.shape[0] == 1 or enable_batch_invariant
        return {"batch_invariant": invariant, "max_workers": 0}
    if num_splits is not None and num_splits is not metadata.num_splits:
        raise ValueError("num_splits: given one, wanted None beside a FlashMLASchedMeta")
    work = metadata.tile_scheduler_metadata
    one_part = (
        work is not None and work.shape[0] == 1
    )  # made by hand, or a plan that divides nothing
    invariant = metadata.batch_invariant or enable_batch_invariant or one_part
    return {"batch_invariant": invariant, "max_workers": metadata.max_workers}


def compiled_decode(call, metadata, num_splits, empty_lse, lse_base):
    """flash_mla_with_kvcache inside of torch.compile: each call plans by itself."""
    options = _options(metadata, num_splits, call.batch_invariant)
    packed = _is_packed(call)
    if call.indices is not None and call.is_fp8_kvcache not in (None, packed):
        raise ValueError(
            f"is_fp8_kvcache: given {call.is_fp8_kvcache}, wanted {packed}, as k_cache is of dtype "
            f"{call.kv_cache.dtype}"
        )
    tensors = call.q, call.kv_cache, call.block_table, call.lengths
    named = {
        "causal": call.causal,
        "indices": call.indices,
        "extra_k_cache": call.extra_kv_cache,
        "extra_indices": call.extra_indices,
        **scale_arguments("softmax_scale", call.softmax_scale),
        "attn_sink": call.attn_sink,
        "topk_length": call.topk_length,
        "q_rotary": call.q_rotary,
        "extra_topk_length": call.extra_topk_length,
        "empty_lse": empty_lse,
        "lse_base": lse_base,
        **options,
    }
    if call.out is None and call.lse is None:
        return torch.ops.flashmla.decode(*tensors, **named)
    fresh_out, fresh_lse = empty_outputs(call.q)
    out = fresh_out if call.out is None else call.out
    lse = fresh_lse if call.lse is None else call.lse
    torch.ops.flashmla.decode_out(*tensors, None, out, lse, **named)
    return out, lse


def compiled_sparse_fwd(call, d_v, empty_lse, lse_base):
    """flash_mla_sparse_fwd inside of torch.compile."""
    _check_numbers("d_v", d_v, "sm_scale", call.softmax_scale)
    if call.softmax_scale is None:
        raise TypeError("sm_scale: given None, wanted a number")
    results = torch.ops.flashmla.sparse_prefill(
        call.q, call.kv_cache, call.indices, attn_sink=call.attn_sink,
        topk_length=call.topk_length, empty_lse=empty_lse, lse_base=lse_base,
        **scale_arguments("sm_scale", call.softmax_scale),
    )  # fmt: skip
    given = (call.out, call.max_logits, call.lse)
    return tuple(
        computed if wanted is None else wanted.copy_(computed)
        for computed, wanted in zip(results, given)
    )
