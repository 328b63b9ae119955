"""Merging of partial results, each computed over a part of the tokens."""

from __future__ import annotations

from . import _core
from ._frameworks import error, framework_of


def stream_for(framework, tensor):
    """The current stream of the device of a tensor; 0 on the CPU."""
    device, index = _core.inspect(tensor, "tensor")[:2]
    return framework.stream(index) if device == "cuda" else 0


def merge_states(outs, lses, attn_sink=None, *, out=None, lse=None):
    """One result of several partial ones (context parallelism, shared prefixes).

    outs: list of [b, s_q, h_q, d_v] bf16, fp16 or float32; lses: list of float32 [b, h_q, s_q],
        natural logarithm; +inf or −inf: that part has seen no token and weighs nothing. Parts are
        computed without a sink.
    attn_sink: float32 [h_q], applied once, here
    out, lse: where to write (may be a part's own tensors); allocated where None, of the type of
        outs[0]

    Returns (out, lse): Σ_p exp(lse_p − lse) out_p and ln Σ_p exp(lse_p); 0 and +inf where all parts
    are empty. Raises ValueError or TypeError naming the argument.
    """
    outs, lses = list(outs), list(lses)
    if not outs:
        raise error(ValueError, "outs", "no tensor", "at least one partial result")
    if len(lses) != len(outs):
        raise error(
            ValueError, "lses", f"{len(lses)} tensors", f"{len(outs)}, one for each of outs"
        )
    framework = framework_of(outs[0], "outs[0]")
    if out is None:
        out = framework.empty(outs[0], tuple(outs[0].shape))
    if lse is None:
        lse = framework.named(lses[0], tuple(lses[0].shape), "float32")
    _core.merge(outs, lses, attn_sink, out, lse, stream_for(framework, outs[0]))
    return out, lse
