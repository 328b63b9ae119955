"""Operators of attention, torch.ops.flashmla.*, for torch.compile, torch.export and dispatch.

Their arguments and results are tensors and numbers alone. A schedule is a tensor too: `schedule`
makes it once a step, and `decode` takes it. Without one, `decode` plans by itself in each call.
"""

from __future__ import annotations

import threading
from typing import NamedTuple, Optional

import torch

from . import _cache_ops as _cache_ops
from . import _metadata_ops as _metadata_ops
from . import _plan_ops as _plan_ops
from ._arguments import renamed
from ._call import DECODE_NAMES, Call, describe
from ._checks import FAILURES, HEAD_DIM_V
from ._compiled import empty_outputs
from ._frameworks import Memory, error, framework_of, host_memory
from ._library import define, nothing, scale_of
from ._plan import Plan
from ._prefill import flash_mla_sparse_fwd

_TENSORS = "Tensor q, Tensor k_cache, Tensor? block_table=None, Tensor? cache_seqlens=None"
_PROBLEM = (
    "bool causal=False, Tensor? indices=None, Tensor? extra_k_cache=None, "
    "Tensor? extra_indices=None, bool batch_invariant=False, int max_workers=0"
)
# scale_tensor: softmax_scale as a 0-d tensor on the CPU.
_FORM = 'Tensor? scale_tensor=None, str empty_lse="+inf", float? lse_base=None'
_RUN = (
    "float? softmax_scale=None, Tensor? attn_sink=None, Tensor? topk_length=None, "
    f"Tensor? extra_topk_length=None, {_FORM}, Tensor? q_rotary=None"
)
# The operators' arguments by their names in the C++ library, as in _call.py.
_NAMES = {
    **DECODE_NAMES,
    "extra_topk": ("extra_indices", "extra_topk"),
    "plan_workspace": "schedule",
}
for _name in ("q_rotary", "extra_indices", "max_workers", "batch_invariant"):
    del _NAMES[_name]  # the operators' names are the library's
_OUT_NAMES = {**_NAMES, "out": "output", "lse": "output_lse"}

_MOST_PLANS = 64
_ATTRIBUTE = "_flash_mla"  # of a schedule tensor: its _Made
_local = threading.local()  # a thread's own plans: none is attached anew while it runs


def _shape_key(tensor):
    return None if tensor is None else (tensor.shape, tensor.dtype)


def _call_of(
    names, q, k_cache, block_table=None, cache_seqlens=None, causal=False, indices=None,
    extra_k_cache=None, extra_indices=None, batch_invariant=False, max_workers=0, q_rotary=None,
):  # fmt: skip
    """The Call of what `schedule` and `decode` have in common."""
    call = Call(names, q, k_cache)
    call.q_rotary = q_rotary
    if indices is None:
        call.block_table, call.lengths = block_table, cache_seqlens
    call.causal, call.indices = causal, indices
    call.extra_kv_cache, call.extra_indices = extra_k_cache, extra_indices
    call.is_fp8_kvcache = indices is not None and k_cache.dtype.itemsize == 1
    call.batch_invariant, call.max_workers = batch_invariant, max_workers
    return call


def _new_plan(call):
    device, fields, _ = describe(call)
    plan = Plan(fields, device)
    plan.framework = framework_of(call.q)
    return plan


def _plan_for(call):
    """A plan of this thread for a call like this one."""
    key = (
        call.q.shape, call.q.dtype, call.q.device, call.kv_cache.shape[1:], call.kv_cache.dtype,
        _shape_key(call.block_table), call.causal, _shape_key(call.indices),
        _shape_key(call.extra_kv_cache), _shape_key(call.extra_indices), call.batch_invariant,
        call.max_workers, call.lengths is None, _shape_key(call.q_rotary),
    )  # fmt: skip
    plans = _local.__dict__.setdefault("plans", {})
    plan = plans.get(key)
    if plan is None:
        plan = _new_plan(call)
        if len(plans) >= _MOST_PLANS:
            plans.pop(next(iter(plans)))
        plans[key] = plan
    return plan


def _check_schedule(schedule, plan):
    size = plan.plan_workspace_bytes
    if schedule.dtype != torch.uint8 or schedule.dim() != 1 or schedule.numel() < size:
        wanted = f"uint8[{size}] of torch.ops.flashmla.schedule"
        raise error(ValueError, "schedule", f"{schedule.dtype}{list(schedule.shape)}", wanted)
    if schedule.layout != torch.strided:
        wanted = "one of the layout torch.strided"
        raise error(ValueError, "schedule", f"a tensor of the layout {schedule.layout}", wanted)
    if (schedule.device.type, schedule.device.index or 0) != plan.device:
        wanted = f"one on {plan.device[0]}:{plan.device[1]}, as q"
        raise error(ValueError, "schedule", f"a tensor on {schedule.device}", wanted)


def _memory_of(schedule, plan):
    """A schedule tensor as a plan workspace; a copy where it is not aligned or contiguous."""
    _check_schedule(schedule, plan)
    size = schedule.numel()
    address = schedule.data_ptr()
    if address == 0:
        wanted = "a tensor with elements in memory"
        raise error(ValueError, "schedule", "a tensor without memory of its own", wanted)
    if address % 256 == 0 and schedule.is_contiguous():
        return Memory(schedule, address, size)
    if plan.device[0] == "cuda":
        copied = schedule.clone(memory_format=torch.contiguous_format)
        return Memory(copied, copied.data_ptr(), size)
    memory = host_memory(size)
    torch.frombuffer(memory.owner, dtype=torch.uint8, count=size).copy_(schedule)
    return memory


def _stamp(schedule):
    """A number that changes when the tensor is written to; None where nobody counts that.

    On a GPU the plan's schedule is the tensor itself, so that 0 will do. On the CPU it is a copy.
    """
    if schedule.is_cuda:
        return 0
    return None if schedule.is_inference() else schedule._version


def _make_schedule(plan, lengths, zeros=False):
    """The plan's schedule in new memory."""
    memory = plan.framework.memory(plan.device, plan.plan_workspace_bytes)
    if zeros and isinstance(memory.owner, torch.Tensor):
        memory.owner.zero_()
    plan.core.schedule(lengths, memory.address, memory.bytes, plan.stream())
    return memory


class _Made(NamedTuple):
    """What a schedule tensor remembers of the operator that made it.

    call_kind: (address of the tensor, its stamp, causal, whether the call was dense and whether its
        query was one tensor)
    """

    plan: Plan
    cache_seqlens: Optional[torch.Tensor]
    call_kind: tuple


def _call_kind(schedule, call):
    dense, whole = call.indices is None, call.q_rotary is None
    return schedule.data_ptr(), _stamp(schedule), call.causal, dense, whole


def _schedule(q, k_cache, block_table=None, cache_seqlens=None, *arguments, **named):
    try:
        call = _call_of(_NAMES, q, k_cache, block_table, cache_seqlens, *arguments, **named)
        plan = _new_plan(call)
        # Gaps in the workspace hold zeros, so that the result depends on the arguments alone.
        memory = _make_schedule(plan, call.lengths, zeros=True)
    except FAILURES as failure:
        raise renamed(failure, _NAMES) from None
    if isinstance(memory.owner, torch.Tensor):
        schedule = memory.owner
    else:
        # NOTE: PyTorch allocates the tensor, since an operator must own what it returns.
        schedule = torch.frombuffer(memory.owner, dtype=torch.uint8, count=memory.bytes).clone()
    # The plan is found again where the very tensor comes back; a copy of the tensor is attached to
    # another plan.
    plan.memory = memory
    if _stamp(schedule) is not None:
        setattr(schedule, _ATTRIBUTE, _Made(plan, cache_seqlens, _call_kind(schedule, call)))
    return schedule


def _decode_out(
    q, k_cache, block_table, cache_seqlens, schedule, output, output_lse, causal=False,
    indices=None, extra_k_cache=None, extra_indices=None, batch_invariant=False, max_workers=0,
    softmax_scale=None, attn_sink=None, topk_length=None, extra_topk_length=None,
    scale_tensor=None, empty_lse="+inf", lse_base=None, q_rotary=None,
):  # fmt: skip
    try:
        call = _call_of(
            _OUT_NAMES, q, k_cache, block_table, cache_seqlens, causal, indices, extra_k_cache,
            extra_indices, batch_invariant, max_workers, q_rotary,
        )  # fmt: skip
        call.out, call.lse, call.attn_sink = output, output_lse, attn_sink
        call.topk_length, call.extra_topk_length = topk_length, extra_topk_length
        made = None if schedule is None else getattr(schedule, _ATTRIBUTE, None)
        beside = schedule is not None and cache_seqlens is not None
        if beside and (made is None or cache_seqlens is not made.cache_seqlens):
            _check_lengths(cache_seqlens, q)
        call.set_lse_form(empty_lse, lse_base)
        call.softmax_scale = scale_of("softmax_scale", softmax_scale, scale_tensor)
        if made is not None and made.call_kind == _call_kind(schedule, call):
            # The tensor is the very one that this plan made, and holds its schedule still.
            plan = made.plan
            if plan.core.run_current(None, call):
                return  # the short way on a GPU
        else:
            plan = _plan_for(call)
            if schedule is None:
                memory = _make_schedule(plan, call.lengths)
            else:
                memory = _memory_of(schedule, plan)
                plan.core.attach(memory.address, memory.bytes)
        plan.execute(call)
    except FAILURES as failure:
        raise renamed(failure, _OUT_NAMES) from None


def _check_lengths(cache_seqlens, q):
    """Checks lengths beside a schedule. They are not read, since the schedule holds them."""
    if cache_seqlens.dtype != torch.int32 or cache_seqlens.shape != q.shape[:1]:
        given = f"{cache_seqlens.dtype}{list(cache_seqlens.shape)}"
        raise error(ValueError, "cache_seqlens", given, f"int32{list(q.shape[:1])}")


def _check_rank(name, tensor, rank):
    if tensor.dim() != rank:
        raise error(ValueError, name, f"shape {list(tensor.shape)}", f"{rank} dimensions")


def _decode(
    q, k_cache, block_table=None, cache_seqlens=None, schedule=None, *arguments, **named
):  # fmt: skip
    _check_rank("q", q, 4)
    out, lse = empty_outputs(q)
    _decode_out(q, k_cache, block_table, cache_seqlens, schedule, out, lse, *arguments, **named)
    return out, lse


def _sparse_prefill(
    q, kv, indices, sm_scale=None, attn_sink=None, topk_length=None, scale_tensor=None,
    empty_lse="+inf", lse_base=None,
):  # fmt: skip
    sm_scale = scale_of("sm_scale", sm_scale, scale_tensor)
    return flash_mla_sparse_fwd(
        q, kv, indices, sm_scale, HEAD_DIM_V, attn_sink, topk_length,
        empty_lse=empty_lse, lse_base=lse_base,
    )  # fmt: skip


def _fake_schedule(q, *arguments, **named):
    # The size depends on the device's number of workers.
    size = torch.library.get_ctx().new_dynamic_size()
    return q.new_empty((size,), dtype=torch.uint8)


def _fake_decode(q, *arguments, **named):
    _check_rank("q", q, 4)
    return empty_outputs(q)


def _fake_prefill(q, *arguments, **named):
    _check_rank("q", q, 3)
    s_q, h_q, _ = q.shape
    statistics = [q.new_empty((s_q, h_q), dtype=torch.float32) for _ in range(2)]
    return (q.new_empty((s_q, h_q, HEAD_DIM_V)), *statistics)


define(
    f"schedule({_TENSORS}, {_PROBLEM}, Tensor? q_rotary=None) -> Tensor", _schedule, _fake_schedule
)
define(
    f"decode({_TENSORS}, Tensor? schedule=None, {_PROBLEM}, {_RUN}) -> (Tensor, Tensor)",
    _decode,
    _fake_decode,
)
# NOTE: an engine's inner loop. What every call gives comes first and is passed by position: PyTorch
# takes 2 µs longer over arguments that are passed by name alone.
# No argument has the name out, which Dynamo of PyTorch 2.4 does not trace.
define(
    f"decode_out({_TENSORS.replace('=None', '')}, Tensor? schedule, Tensor(a!) output, "
    f"Tensor(b!) output_lse, {_PROBLEM}, {_RUN}) -> ()",
    _decode_out,
    nothing,
)
define(
    "sparse_prefill(Tensor q, Tensor kv, Tensor indices, float? sm_scale=None, "
    f"Tensor? attn_sink=None, Tensor? topk_length=None, {_FORM}) -> (Tensor, Tensor, Tensor)",
    _sparse_prefill,
    _fake_prefill,
)
