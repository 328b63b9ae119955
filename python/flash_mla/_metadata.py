"""The schedule as engines hold it: an object (today's call form) or two tensors (the older one)."""

from __future__ import annotations

import contextlib
from typing import Any, Optional

from . import _core
from ._arguments import flag, shown
from ._call import Config
from ._checks import check_tensor, checked_count
from ._frameworks import error
from ._old_form import make_tensors
from ._schedule import Schedule
from ._tensor_schedule import ATTRIBUTE, Shared, TensorSchedule

_MADE_HERE = "a schedule of flash_mla.get_mla_metadata"
_MOST_WORKERS = 65536


class FlashMLASchedMeta(Schedule):
    """A schedule that is made at the first call with it and reused by the calls of other layers.

    have_initialized: whether a call has planned it
    config: what later calls must agree in (None before)
    tile_scheduler_metadata, num_splits: int32 [parts, 8] and [b + 1]. The next call plans again
        where both have been set to None. Tensors that the caller puts there are the older form, see
        :func:`get_mla_metadata`. A tensor of a single part asks for batch_invariant.
    max_workers, batch_invariant: options of the plan, see :func:`flash_mla.plan`

    A copy is fresh: it has the options and the caller's own tensors. So is a pickled one.
    """

    def __init__(
        self,
        have_initialized=False,
        config=None,
        tile_scheduler_metadata=None,
        num_splits=None,
        *,
        max_workers=0,
        batch_invariant=False,
    ):
        _check_options(max_workers, batch_invariant)
        flag("have_initialized", have_initialized)
        if config is not None and not isinstance(config, Config):
            raise error(TypeError, "config", shown(config), "the config of another one, or None")
        fields = ("tile_scheduler_metadata", tile_scheduler_metadata), ("num_splits", num_splits)
        for name, tensor in fields:
            if tensor is not None and not hasattr(tensor, "shape"):
                raise error(TypeError, name, shown(tensor), "a tensor or None")
        self.have_initialized = have_initialized
        self.config: Optional[Config] = config
        self.tile_scheduler_metadata: Any = tile_scheduler_metadata
        self.num_splits: Any = num_splits
        self.max_workers = max_workers
        self.batch_invariant = batch_invariant

    def __repr__(self):
        return f"FlashMLASchedMeta(have_initialized={self.have_initialized}, config={self.config})"

    def __reduce__(self):
        held = self._held
        tensors = self.tile_scheduler_metadata, self.num_splits
        if held is not None and (tensors[0] is None or tensors[0] is held.work):
            tensors = None, None
        return _fresh, (type(self), *tensors, self.max_workers, self.batch_invariant)

    def _has_short_way(self, held):
        return (
            held.work is self.tile_scheduler_metadata
            and held.num_splits is self.num_splits
            and self.have_initialized
        )

    def _is_current(self, held, call):
        return self._has_short_way(held) and held.is_of(call.lengths, False)

    def _agree(self, config):
        if not self.have_initialized or not isinstance(self.config, Config):
            return
        for name, before, now in zip(Config._fields, self.config, config):
            if before != now:
                argument = _ARGUMENTS[name]
                part = "" if argument == name else f"{name} = "
                wanted = f"{part}{before}, as in the first call with this tile_scheduler_metadata"
                raise error(ValueError, argument, f"{part}{now}", wanted)

    def _commit(self, held):
        self._held = held
        self.have_initialized = True
        self.config = held.config
        self.tile_scheduler_metadata = held.work
        self.num_splits = held.num_splits


# Arguments of flash_mla_with_kvcache that say what the fields of Config are.
_ARGUMENTS = {
    "b": "q",
    "s_q": "q",
    "h_q": "q",
    "page_block_size": "k_cache",
    "h_k": "k_cache",
    "causal": "causal",
    "is_fp8_kvcache": "is_fp8_kvcache",
    "topk": "indices",
    "extra_page_block_size": "extra_k_cache",
    "extra_topk": "extra_indices_in_kvcache",
}


def _fresh(kind, work, num_splits, max_workers, batch_invariant):
    return kind(
        tile_scheduler_metadata=work,
        num_splits=num_splits,
        max_workers=max_workers,
        batch_invariant=batch_invariant,
    )


def _check_options(max_workers, batch_invariant):
    flag("batch_invariant", batch_invariant)
    checked_count("max_workers", max_workers, 0, _MOST_WORKERS)


def schedule_of(given, num_splits):
    """The Schedule that the arguments tile_scheduler_metadata and num_splits of a call name.

    It is the FlashMLASchedMeta itself. It is a TensorSchedule where the caller passes a tensor, or
    has put one into the object's field.
    """
    if not isinstance(given, FlashMLASchedMeta):
        return _of_tensor(given, num_splits, None)
    if num_splits is not None and num_splits is not given.num_splits:
        _check_same(num_splits, given.num_splits)
    tensor, held = given.tile_scheduler_metadata, given._held
    if held is not None and tensor is held.work:
        return given
    if tensor is None:
        if given.num_splits is not None and (
            held is None or given.num_splits is not held.num_splits
        ):
            wanted = "None in a FlashMLASchedMeta without a tile_scheduler_metadata"
            raise error(ValueError, "num_splits", shown(given.num_splits), wanted)
        return given
    return _of_tensor(tensor, given.num_splits, given)


def _check_same(num_splits, field):
    """Refuses a num_splits beside the object that is not the object's own."""
    name = "num_splits"
    if hasattr(num_splits, "shape") and field is not None:
        given, own = (_core.inspect(tensor, name)[3:] for tensor in (num_splits, field))
        if given == own:
            return
    wanted = "None, or the object's own num_splits, beside a FlashMLASchedMeta"
    raise error(ValueError, name, shown(num_splits), wanted)


def _of_tensor(given, num_splits, owner):
    name = "tile_scheduler_metadata"
    if given is None or isinstance(given, (tuple, list)) or not hasattr(given, "shape"):
        wanted = _MADE_HERE
        if isinstance(given, tuple):
            wanted = "the first of the two results of get_mla_metadata, the second as num_splits"
        raise error(TypeError, name, shown(given), wanted)
    shared = getattr(given, ATTRIBUTE, None)
    if shared is not None and shared.made_here:
        field = getattr(given, name, None)  # the caller may have assigned it
        if field is not None and field is not shared.alias:
            given, shared = field, getattr(field, ATTRIBUTE, None)
    if shared is None:
        parts = check_tensor(given, name, "i32", ("parts", 8))[0]
        # A caller who writes a plan of one part wants results that depend on no other request.
        shared = Shared(batch_invariant=parts == 1)
        # The calls of other layers find it there. A plain NumPy array takes no attribute: each call
        # with one plans.
        with contextlib.suppress(AttributeError, TypeError):
            setattr(given, ATTRIBUTE, shared)
    if num_splits is not None:
        check_tensor(num_splits, "num_splits", "i32", ("b + 1",))
    return TensorSchedule(given, num_splits, shared, owner)


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

    schedule, _ = flash_mla.get_mla_metadata()        # once a decoding step

    Without cache_seqlens it returns (FlashMLASchedMeta(), None). The first call with this object
    plans, from the call's own tensors. Only the options matter here; other arguments are checked.

    With cache_seqlens it returns the older form: two int32 tensors, [parts, 8] and [b + 1], on the
    device of cache_seqlens. The caller asks for new ones whenever the lengths have changed, and may
    copy them into preallocated tensors and slice them.
        cache_seqlens: int32 [b], tokens in each request's cache
        num_q_tokens_per_head_k: s_q · h_q / h_kv (also under its old name num_heads_per_head_k)
        num_heads_k: h_kv
        num_heads_q: h_q; only sparse attention needs it
        is_fp8_kvcache: whether the cache of sparse attention is FP8
        topk: entries of a query token's index list; None in dense decoding

    max_workers, batch_invariant: see :func:`flash_mla.plan`.
    Raises ValueError or TypeError naming the argument.
    """
    flag("is_fp8_kvcache", is_fp8_kvcache)
    _check_options(max_workers, batch_invariant)
    rows, rows_name = num_q_tokens_per_head_k, "num_q_tokens_per_head_k"
    if num_heads_per_head_k is not None:
        old = checked_count("num_heads_per_head_k", num_heads_per_head_k)
        if rows is not None and checked_count(rows_name, rows) != old:
            wanted = f"{rows_name}, whose old name it is, or only one of them"
            raise error(ValueError, "num_heads_per_head_k", old, wanted)
        rows, rows_name = old, "num_heads_per_head_k"
    counts = {rows_name: rows, "num_heads_k": num_heads_k, "num_heads_q": num_heads_q}
    counts["topk"] = topk
    if cache_seqlens is None:
        for name, count in counts.items():
            if count is not None:
                checked_count(name, count)
        return FlashMLASchedMeta(max_workers=max_workers, batch_invariant=batch_invariant), None
    options = max_workers, batch_invariant
    return make_tensors("cache_seqlens", cache_seqlens, counts, is_fp8_kvcache, options)
