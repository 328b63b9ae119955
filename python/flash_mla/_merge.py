"""Merging of partial results, each computed over a part of the tokens."""

from __future__ import annotations

from . import _core
from ._arguments import lse_form, one_of, renamed
from ._frameworks import error, framework_of, is_compiling, torch, type_text

_LAYOUTS = ("bhs", "bsh")


def stream_for(framework, tensor, argument):
    """The current stream of the device of a tensor; 0 on the CPU."""
    device, index = _core.inspect(tensor, argument)[:2]
    return framework.stream(index) if device == "cuda" else 0


def _as_list(name, given):
    try:
        return list(given)
    except TypeError:
        wanted = "a list of tensors, one for each part"
        raise error(TypeError, name, f"a {type_text(type(given))}", wanted) from None


def merge_states(
    outs,
    lses,
    attn_sink=None,
    *,
    out=None,
    lse=None,
    lse_layout="bhs",
    empty_lse="+inf",
    lse_base=None,
):
    """Merges partial results into one (context parallelism, shared prefixes).

    outs: list of [b, s_q, h_q, d_v] bf16, fp16 or float32, in any mixture
    lses: list of float32 [b, h_q, s_q] of any strides; +inf or −inf: that part has seen no token
        and weighs nothing. Parts are computed without a sink. A weight exp(lse_p − largest lse)
        below 2^−126 is 0, and a part that weighs 0 for a row is not read there.
    attn_sink: float32 [h_q], natural-log domain, applied once, here
    out, lse: where to write (may be a part's own tensors); allocated where None, out of the type
        of outs[0]
    lse_layout: "bhs": [b, h_q, s_q]; "bsh": [b, s_q, h_q], of lses and lse. Without b, as prefill
        returns them, outs are [s_q, h_q, d_v] and lses [h_q, s_q] or, with "bsh", [s_q, h_q].
    empty_lse: "+inf" or "-inf", lse where all parts are empty
    lse_base: base of lses and lse: 2; natural where None or math.e

    Returns (out, lse): Σ_p exp(lse_p − lse) out_p and ln Σ_p exp(lse_p); 0 and empty_lse where all
    parts are empty. Raises ValueError or TypeError naming the argument.
    """
    if is_compiling():
        form = lse_layout, empty_lse, lse_base
        outs, lses = list(outs), list(lses)
        if not outs or len(outs) != len(lses):
            # NOTE: plain exceptions: Dynamo traces no assignment to an exception's attributes.
            raise ValueError(f"lses: given {len(lses)}, wanted {len(outs)}, one for each of outs")
        fresh_out, fresh_lse = empty_results(outs[0], lses[0])
        if out is None and lse is None:
            return torch.ops.flashmla.merge_states(outs, lses, attn_sink, *form)
        out = fresh_out if out is None else out
        lse = fresh_lse if lse is None else lse
        torch.ops.flashmla.merge_states_out(outs, lses, attn_sink, out, lse, *form)
        return out, lse
    outs, lses = _as_list("outs", outs), _as_list("lses", lses)
    if not outs:
        raise error(ValueError, "outs", "no tensor", "at least one partial result")
    if len(lses) != len(outs):
        raise error(
            ValueError, "lses", f"{len(lses)} tensors", f"{len(outs)}, one for each of outs"
        )
    one_of("lse_layout", lse_layout, _LAYOUTS)
    form = lse_form(empty_lse, lse_base)
    framework = framework_of(outs[0], "outs[0]")
    stream = stream_for(framework, outs[0], "outs[0]")
    names = {}  # an output that is allocated like a part is wrong where the part is
    if out is None:
        out = framework.empty(outs[0], tuple(outs[0].shape))
        names["out"] = "outs[0]"
    if lse is None:
        lse = framework.named(outs[0], _core.inspect(lses[0], "lses[0]")[3], "float32")
        names["lse"] = "lses[0]"
    try:
        _core.merge(outs, lses, attn_sink, out, lse, lse_layout == "bsh", *form, stream)
    except ValueError as failure:
        raise renamed(failure, names) from None
    return out, lse


def empty_results(out, lse):
    """Memory for a merged result: real tensors of PyTorch or a trace's, as the given ones are."""
    return out.new_empty(out.shape), lse.new_empty(lse.shape, dtype=torch.float32)
