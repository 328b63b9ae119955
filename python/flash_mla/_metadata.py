"""The schedule as engines hold it: an object (today's call form) or two tensors (the older one)."""

from __future__ import annotations

import contextlib
import operator
from typing import Any, NamedTuple, Optional

from . import _core
from ._frameworks import error, framework_of, type_text
from ._plan import Plan

_ATTRIBUTE = "_flash_mla"  # on a tensor of the older form: the FlashMLASchedMeta that it stands for
_MADE_HERE = "a schedule of flash_mla.get_mla_metadata"


class Config(NamedTuple):
    """What all calls with one schedule have in common."""

    b: int
    s_q: int
    h_q: int
    page_block_size: int
    h_k: int
    causal: bool
    is_fp8_kvcache: bool
    topk: Optional[int]
    extra_page_block_size: Optional[int]
    extra_topk: Optional[int]


class Held(NamedTuple):
    """A plan with its schedule, and what tells whether it still fits."""

    plan: Plan
    core: Any
    config: Config
    stream_of: Any
    index: int  # of the device
    on_gpu: bool
    work: Any
    num_splits: Any
    dense: bool
    causal: bool
    is_fp8_kvcache: bool
    # Kept, so that no other tensor takes its address while that stands for these lengths.
    lengths: Any
    # Older form, whose tensors serve calls of any problem: of the tensor that was given, and the
    # shapes that it was planned for.
    tensor_version: Optional[int]
    signature: Any


class FlashMLASchedMeta:
    """A schedule that is made at the first call with it and reused by the calls of other layers.

    have_initialized: whether a call has planned it
    config: what later calls must agree in (None before)
    tile_scheduler_metadata: int32 [parts, 8], num_splits: int32 [b + 1]; both set to None: the next
        call plans again
    max_workers, batch_invariant: options of the plan, see :func:`flash_mla.plan`
    """

    def __init__(self, *, max_workers=0, batch_invariant=False):
        self.have_initialized = False
        self.config: Optional[Config] = None
        self.tile_scheduler_metadata: Any = None
        self.num_splits: Any = None
        self.max_workers = max_workers
        self.batch_invariant = batch_invariant
        self._held: Optional[Held] = None
        self._by_tensors = False
        self._alias: Any = None  # what the older form's first tensor has as this field

    def __repr__(self):
        return f"FlashMLASchedMeta(have_initialized={self.have_initialized}, config={self.config})"

    def _commit(self, held):
        self._held = held
        self.have_initialized = True
        self.config = held.config
        self.tile_scheduler_metadata = held.work
        self.num_splits = held.num_splits

    def _check_fields(self):
        """Refuses a schedule that was put into the fields and that nobody here has made."""
        held = self._held
        for name in ("tile_scheduler_metadata", "num_splits"):
            value = getattr(self, name)
            if value is None or (held is not None and value is getattr(held, _FIELDS[name])):
                continue
            raise error(ValueError, name, "a plan of another library's making", _MADE_HERE)


_FIELDS = {"tile_scheduler_metadata": "work", "num_splits": "num_splits"}


def version_of(tensor):
    """How often a tensor was changed; None where nobody counts that."""
    if not hasattr(tensor, "is_inference") or tensor.is_inference():
        return None
    return tensor._version


def metadata_of(given, num_splits):
    """The FlashMLASchedMeta that `tile_scheduler_metadata` is or stands for."""
    if isinstance(given, FlashMLASchedMeta):
        return given
    name = "tile_scheduler_metadata"
    if given is None:
        raise error(TypeError, name, "None", _MADE_HERE)
    if hasattr(given, "have_initialized") and not hasattr(given, "shape"):
        raise error(TypeError, name, f"a {type_text(type(given))}", _MADE_HERE)
    _, _, dtype, shape, _ = _core.inspect(given, name)
    if dtype != "i32" or len(shape) != 2 or shape[1] != 8:
        raise error(ValueError, name, f"{dtype}{list(shape)}", "int32 [parts, 8]")
    if num_splits is not None:
        _, _, dtype, shape, _ = _core.inspect(num_splits, "num_splits")
        if dtype != "i32" or len(shape) != 1:
            raise error(ValueError, "num_splits", f"{dtype}{list(shape)}", "int32 [b + 1]")
    meta = getattr(given, _ATTRIBUTE, None)
    if meta is None:
        meta = FlashMLASchedMeta()
        meta._by_tensors = True
        # So that the calls of other layers find it; a plain NumPy array is planned in each call.
        with contextlib.suppress(AttributeError):
            setattr(given, _ATTRIBUTE, meta)
    elif meta._alias is not None and not _is_any(getattr(given, name, None), None, meta._alias):
        wanted = f"{_MADE_HERE}, which also takes batch_invariant and max_workers"
        raise error(ValueError, name, "a plan of another library's making", wanted)
    return meta


def _is_any(value, *candidates):
    return any(value is candidate for candidate in candidates)


def _as_tensors(plan, s_q, meta):
    """The older form: int32 [parts, 8] with the fields as attributes, and int32 [b + 1]."""
    work, splits = plan.array("work"), plan.array("split_offset")
    if s_q > 1 and plan.fields["kind"] != "dense_decode":
        splits = splits[::s_q]
        splits = splits.contiguous() if hasattr(splits, "contiguous") else splits.copy()
    if plan.framework.name == "numpy":
        work = work.view(_schedule_array(plan.framework.numpy))
    elif plan.framework.name == "cupy":
        return work, splits  # whose arrays carry no attributes
    meta._by_tensors = True
    setattr(work, _ATTRIBUTE, meta)
    work.have_initialized = False
    work.config = None
    # NOTE: another object on the same memory; itself would be a cycle.
    meta._alias = work.view(work.shape) if hasattr(work, "data_ptr") else work[:]
    work.tile_scheduler_metadata = meta._alias
    work.num_splits = splits
    return work, splits


_schedule_arrays: dict = {}


def _schedule_array(numpy):
    """The class of NumPy arrays that may have attributes."""
    if numpy not in _schedule_arrays:
        _schedule_arrays[numpy] = type("ScheduleArray", (numpy.ndarray,), {})
    return _schedule_arrays[numpy]


def _positive(name, value):
    number = value if hasattr(value, "__index__") and not isinstance(value, bool) else 0
    if operator.index(number) < 1:
        raise error(ValueError, name, repr(value), "a positive integer")
    return operator.index(number)


def get_mla_metadata(
    cache_seqlens=None,
    num_q_tokens_per_head_k=None,
    num_heads_k=None,
    num_heads_q=None,
    is_fp8_kvcache=False,
    topk=None,
    *,
    num_heads_per_head_k=None,
    max_workers=0,
    batch_invariant=False,
):
    """A schedule for :func:`flash_mla_with_kvcache`.

    Without cache_seqlens: (FlashMLASchedMeta(), None). The first call with it plans.

    With it, the older form: two int32 tensors, [parts, 8] and [b + 1], made on the device of
    cache_seqlens. They may be copied into preallocated tensors and sliced.
        cache_seqlens: int32 [b], tokens in each request's cache
        num_q_tokens_per_head_k: s_q · h_q / h_kv (also under its old name num_heads_per_head_k)
        num_heads_k: h_kv
        num_heads_q: h_q; only sparse attention needs it
        topk: entries of a query token's index list; None in dense decoding

    max_workers, batch_invariant: see :func:`flash_mla.plan`.
    Raises ValueError or TypeError naming the argument.
    """
    meta = FlashMLASchedMeta(max_workers=max_workers, batch_invariant=batch_invariant)
    if cache_seqlens is None:
        return meta, None
    if num_q_tokens_per_head_k is None:
        num_q_tokens_per_head_k = num_heads_per_head_k
    rows = _positive("num_q_tokens_per_head_k", num_q_tokens_per_head_k)
    h_kv = _positive("num_heads_k", num_heads_k)
    framework = framework_of(cache_seqlens, "cache_seqlens")
    device_type, index, dtype, shape, _ = _core.inspect(cache_seqlens, "cache_seqlens")
    if dtype != "i32" or len(shape) != 1:
        raise error(ValueError, "cache_seqlens", f"{dtype}{list(shape)}", "int32 [b]")
    fields = {
        "kind": "dense_decode",
        "dtype": "bf16",
        "kv_format": "bf16",
        "batch": shape[0],
        "query_heads": rows * h_kv,
        "kv_heads": h_kv,
        "max_workers": max_workers,
        "batch_invariant": batch_invariant,
    }
    s_q = 1
    if topk is None:
        fields["max_blocks"] = (2**31 - 1) // 64  # of 64 tokens: any length
    else:
        h_q = _positive("num_heads_q", num_heads_q)
        s_q, rest = divmod(rows * h_kv, h_q)
        if rest or s_q < 1:
            wanted = f"a multiple of num_heads_q = {h_q} after · num_heads_k"
            raise error(ValueError, "num_q_tokens_per_head_k", rows, wanted)
        fields.update(kind="sparse_decode", query_heads=h_q, query_tokens=s_q)
        fields["topk"] = _positive("topk", topk)
        if is_fp8_kvcache:
            fields["kv_format"] = "v32"
    plan = Plan(fields, (device_type, index))
    plan.framework = framework
    plan.schedule(cache_seqlens if topk is None else None)
    return _as_tensors(plan, s_q, meta)
