"""The older form of the schedule: two int32 tensors."""

from __future__ import annotations

from . import _core
from ._arguments import renamed
from ._checks import FAILURES, check_tensor, checked_count
from ._frameworks import error, framework_of, is_compiling, torch
from ._plan import Plan
from ._tensor_schedule import ATTRIBUTE, Shared, begin_step


def _as_tensors(plan, s_q, options):
    """A plan's int32 [parts, 8], with a FlashMLASchedMeta's fields as attributes, and [b + 1]."""
    work, splits = plan.array("work"), plan.array("split_offset")
    if s_q > 1 and plan.fields["kind"] != "dense_decode":
        splits = splits[::s_q]
        splits = splits.contiguous() if hasattr(splits, "contiguous") else splits.copy()
    if plan.framework.name == "numpy":
        work = work.view(_schedule_array(plan.framework.numpy))
    elif plan.framework.name == "cupy":
        return work, splits  # CuPy's arrays carry no attributes
    shared = Shared(*options, made_here=True)
    # NOTE: another array of the same memory. `work` or a view of it would be a cycle through the
    # view's base, which Python's collector does not see.
    shared.alias = plan.array("work")
    setattr(work, ATTRIBUTE, shared)
    work.have_initialized = False
    work.config = None
    work.tile_scheduler_metadata = shared.alias
    work.num_splits = splits
    return work, splits


_schedule_arrays: dict = {}


def _schedule_array(numpy):
    """The class of NumPy arrays that may have attributes. A pickled one is a plain array."""
    if numpy not in _schedule_arrays:

        def reduce(array):
            return array.view(numpy.ndarray).__reduce__()

        members = {"__reduce__": reduce}
        _schedule_arrays[numpy] = type("ScheduleArray", (numpy.ndarray,), members)
    return _schedule_arrays[numpy]


def problem_of(counts, batch, is_fp8_kvcache, options):
    """Fields of the problem that the older form's numbers describe.

    counts: {name of the argument: value} of the rows of a KV head, of h_kv, h_q and topk, in this
        order
    """
    names = list(counts)
    rows, h_kv = (checked_count(name, counts[name]) for name in names[:2])
    h_q, topk = (
        None if counts[name] is None else checked_count(name, counts[name]) for name in names[2:]
    )
    s_q = 1
    if h_q is not None:
        s_q, rest = divmod(rows * h_kv, h_q)
        if rest or s_q < 1:
            wanted = f"a multiple of {names[2]} = {h_q} after · {names[1]}"
            raise error(ValueError, names[0], rows, wanted)
    fields = {
        "dtype": "bf16",
        "kv_format": "bf16",
        "batch": batch,
        "kv_heads": h_kv,
        "max_workers": options[0],
        "batch_invariant": options[1],
    }
    if topk is None:
        most = (2**31 - 1) // 64  # pages of 64 tokens: any length
        return {**fields, "kind": "dense_decode", "query_heads": rows * h_kv, "max_pages": most}
    if h_q is None:
        raise error(ValueError, names[2], "None", "a positive integer beside topk")
    if is_fp8_kvcache:
        fields["kv_format"] = "v32"
    sparse = {"kind": "sparse_decode", "query_heads": h_q, "query_tokens": s_q, "topk": topk}
    return {**fields, **sparse}


def make_tensors(lengths_name, lengths, counts, is_fp8_kvcache, options=(0, False)):
    """The two tensors of the older form; `counts` as in problem_of."""
    if is_compiling():
        return _compiled_tensors(lengths_name, lengths, counts, is_fp8_kvcache, options)
    names = list(counts)
    batch = check_tensor(lengths, lengths_name, "i32", ("b",))[0]
    fields = problem_of(counts, batch, is_fp8_kvcache, options)
    dense = fields["kind"] == "dense_decode"
    words = {
        "batch": (lengths_name, "b"),
        "lengths": (lengths_name, ""),
        "problem": (lengths_name, ""),
        "query_heads": (names[0] if dense else names[2], "query heads"),
        "query_tokens": (names[0], "s_q"),
        "kv_heads": (names[1], ""),
    }
    framework = framework_of(lengths, lengths_name)
    device, index = _core.inspect(lengths, lengths_name)[:2]
    begin_step()
    try:
        plan = Plan(fields, (device, index))
        plan.framework = framework
        plan.schedule(lengths if dense else None)
    except FAILURES as failure:
        raise renamed(failure, words) from None
    return _as_tensors(plan, fields.get("query_tokens", 1), options)


def _compiled_tensors(lengths_name, lengths, counts, is_fp8_kvcache, options):
    """make_tensors inside of torch.compile: plain tensors, which carry no attributes."""
    # NOTE: plain exceptions: Dynamo traces no assignment to an exception's attributes.
    if lengths.dtype != torch.int32 or lengths.dim() != 1:
        raise ValueError(
            f"{lengths_name}: given {lengths.dtype}{list(lengths.shape)}, wanted int32 [b]"
        )
    rows, h_kv, h_q, topk = counts.values()
    return torch.ops.flashmla.metadata(
        lengths, rows, h_kv, h_q, is_fp8_kvcache, topk, options[0], options[1]
    )
