"""flash_mla_sparse_fwd: the name and the order that engines use."""

from __future__ import annotations

import threading

from ._arguments import flag, renamed, shown
from ._call import Call
from ._checks import FAILURES, check_head_dim, checked_scale
from ._compiled import compiled_sparse_fwd, is_compiling
from ._frameworks import error, framework_of
from ._plan import Plan

# Arguments of flash_mla_sparse_fwd by their names in the C++ library, as in _call.py.
_PREFILL_NAMES = {
    "dtype": ("q", "dtype"),
    "kv_cache": "kv",
    "kv_heads": ("kv", "h_kv"),
    "problem": "q",
    "qk_dim": ("q", "d_qk"),
    "query_heads": ("q", "h_q"),
    "query_tokens": ("q", "s_q"),
    "softmax_scale": "sm_scale",
    "topk": ("indices", "topk"),
}
_prefill = threading.local()


def flash_mla_sparse_fwd(
    q,
    kv,
    indices,
    sm_scale,
    d_v=512,
    attn_sink=None,
    topk_length=None,
    *,
    out=None,
    max_logits=None,
    lse=None,
    empty_lse="+inf",
    lse_base=None,
    use_legacy=None,
    return_log2_lse=None,
):
    """Sparse prefill: each query token attends to the rows of `kv` that its list names.

    q: [s_q, h_q, d_qk] bf16; kv: [s_kv, 1, d_qk] bf16, not paged
    indices: int32 [s_q, 1, topk]; entries < 0 or ≥ s_kv are no token
    sm_scale: softmax scale
    d_v: 512
    attn_sink: float32 [h_q], natural-log domain; topk_length: int32 [s_q], entries that count
    out, max_logits, lse: where to write; allocated where None
    empty_lse: "+inf" or "-inf", lse of a query that sees no token
    lse_base: base of lse and max_logits: 2; natural where None or math.e
    use_legacy: changes nothing
    return_log2_lse: True: as lse_base = 2; False: max_logits and lse are returned as None

    Returns (out [s_q, h_q, 512] bf16, max_logits [s_q, h_q] float32, the largest scaled score, −inf
    where there is none, lse [s_q, h_q] float32, empty_lse where there is none). Stream, device and
    errors as in :func:`flash_mla_with_kvcache`.
    """
    if use_legacy is not None:
        flag("use_legacy", use_legacy)
    if return_log2_lse is not None:
        lse_base = _base(flag("return_log2_lse", return_log2_lse), lse_base, max_logits, lse)
    call = Call(_PREFILL_NAMES, q, kv)
    call.out, call.lse, call.max_logits = out, lse, max_logits
    call.softmax_scale, call.attn_sink = sm_scale, attn_sink
    call.indices, call.topk_length = indices, topk_length
    if is_compiling():
        results = compiled_sparse_fwd(call, d_v, empty_lse, lse_base)
    else:
        check_head_dim("d_v", d_v)
        if sm_scale is None:
            raise error(TypeError, "sm_scale", None, "a number")
        call.softmax_scale = checked_scale("sm_scale", sm_scale)
        try:
            plan = _prefill_plan(call)
            call.set_lse_form(empty_lse, lse_base)
            plan.execute(call)
        except FAILURES as failure:
            raise renamed(failure, _PREFILL_NAMES) from None
        results = call.out, call.max_logits, call.lse
    return results if return_log2_lse is not False else (results[0], None, None)


def _base(log2, lse_base, max_logits, lse):
    """The lse_base that return_log2_lse asks for."""
    if log2:
        if lse_base not in (None, 2):
            raise error(ValueError, "lse_base", shown(lse_base), "2 beside return_log2_lse=True")
        return 2
    for name, given in (("max_logits", max_logits), ("lse", lse), ("lse_base", lse_base)):
        if given is not None:
            raise error(ValueError, name, shown(given), "None beside return_log2_lse=False")
    return None


def _prefill_plan(call):
    """A scheduled plan; on the CPU the last one of this thread where it is of the same problem."""
    device, dtype, (s_q, h_q, d_qk) = call.inspect("q", 3, "[s_q, h_q, d_qk]")
    _, _, rows = call.inspect("kv_cache", 3, "[s_kv, 1, d_qk]")
    _, _, lists = call.inspect("indices", 3, "[s_q, 1, topk]")
    if dtype != "bf16":
        raise error(ValueError, "q", f"dtype {dtype}", "dtype bf16")
    key = (device, s_q, h_q, d_qk, rows[1], lists[2])
    last = getattr(_prefill, "last", None)
    if last is not None and last[0] == key and device[0] == "cpu":
        return last[1]
    fields = {
        "kind": "sparse_prefill",
        "batch": 1,
        "query_tokens": s_q,
        "query_heads": h_q,
        "kv_heads": rows[1],
        "dtype": "bf16",
        "kv_format": "bf16",
        "qk_dim": d_qk,
        "topk": lists[2],
    }
    plan = Plan(fields, device)
    plan.framework = framework_of(call.q, "q")
    plan.schedule()
    _prefill.last = (key, plan)
    return plan
