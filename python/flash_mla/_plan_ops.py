"""The operator of a plan that was made outside of a compiled graph, torch.ops.flashmla.run."""

from __future__ import annotations

from ._arguments import renamed
from ._checks import FAILURES
from ._library import define, nothing, scale_of
from ._plan import plan_numbered

_OUT_NAMES = {"out": "output", "lse": "output_lse", "max_logits": "output_max_logits"}


def _run(
    plan, q, kv_cache, block_table, output, output_lse, output_max_logits=None, attn_sink=None,
    indices=None, topk_length=None, extra_kv_cache=None, extra_indices=None,
    extra_topk_length=None, softmax_scale=None, scale_tensor=None, empty_lse="+inf", lse_base=None,
    q_rotary=None,
):  # fmt: skip
    try:
        plan_numbered(plan).run(
            q, kv_cache, block_table, attn_sink=attn_sink,
            softmax_scale=scale_of("softmax_scale", softmax_scale, scale_tensor), indices=indices,
            topk_length=topk_length, extra_kv_cache=extra_kv_cache, extra_indices=extra_indices,
            extra_topk_length=extra_topk_length, out=output, lse=output_lse,
            max_logits=output_max_logits, empty_lse=empty_lse, lse_base=lse_base,
            q_rotary=q_rotary,
        )  # fmt: skip
    except FAILURES as failure:
        raise renamed(failure, _OUT_NAMES) from None


define(
    "run(int plan, Tensor q, Tensor kv_cache, Tensor? block_table, Tensor(a!) output, "
    "Tensor(b!) output_lse, Tensor(c!)? output_max_logits=None, Tensor? attn_sink=None, "
    "Tensor? indices=None, Tensor? topk_length=None, Tensor? extra_kv_cache=None, "
    "Tensor? extra_indices=None, Tensor? extra_topk_length=None, float? softmax_scale=None, "
    'Tensor? scale_tensor=None, str empty_lse="+inf", float? lse_base=None, '
    "Tensor? q_rotary=None) -> ()",
    _run,
    nothing,
)
