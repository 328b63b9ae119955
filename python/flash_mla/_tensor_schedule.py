"""The schedule as an int32 tensor: the plan that the calls with one tensor share."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple, Optional

from . import _core
from ._frameworks import error
from ._schedule import Held, Schedule

ATTRIBUTE = "_flash_mla"  # of a schedule tensor: its Shared

_numbers = itertools.count(1)
_step = 0


def begin_step():
    """Called by get_mla_metadata with lengths: every earlier plan is of an earlier step.

    No number comes twice, so no plan of an earlier step is ever taken for one of this step.
    """
    global _step
    _step = next(_numbers)


class Seen(NamedTuple):
    """What was known of a schedule tensor before a plan was made for it.

    signature: shapes and types of the call; the tensor serves calls of any problem
    version: how often the tensor had been changed; None where nobody counts that
    address: where the tensor lay
    step: the number of the last call of get_mla_metadata with lengths
    in_graph: whether a CUDA graph was being captured
    """

    signature: Any
    version: Optional[int]
    address: int
    step: int
    in_graph: bool


def _version_of(tensor):
    """How often a tensor was changed; None where nobody counts that."""
    if not hasattr(tensor, "is_inference") or tensor.is_inference():
        return None
    return tensor._version


def _address_of(tensor):
    return _core.inspect(tensor, "tile_scheduler_metadata")[4]


def _signature_of(call):
    """Equal for calls that one schedule serves."""
    return tuple(
        None if tensor is None else (tuple(tensor.shape[first:]), tensor.dtype)
        for tensor, first in (
            (call.q, 0), (call.kv_cache, 1), (call.indices, 0), (call.extra_kv_cache, 1),
            (call.extra_indices, 0),
        )
    )  # fmt: skip


class Shared:
    """What a schedule tensor of the older form carries: the plan that calls with it share.

    made_here: whether get_mla_metadata returned the tensor
    alias: what the tensor has as its field tile_scheduler_metadata
    A copy shares nothing: it may come to stand for other lengths.
    """

    def __init__(self, max_workers=0, batch_invariant=False, made_here=False):
        self.max_workers = max_workers
        self.batch_invariant = batch_invariant
        self.made_here = made_here
        self.alias: Any = None
        self.held: Optional[Held] = None

    def __reduce__(self):
        return Shared, (self.max_workers, self.batch_invariant)


class TensorSchedule(Schedule):
    """The older form in one call: a schedule tensor, perhaps in a FlashMLASchedMeta's field.

    The tensor names a schedule. The call makes its own from the lengths, and calls with the same
    tensor share it as long as neither the tensor nor the lengths have changed. Where a framework
    counts changes (`_version_of`), the counts tell. In PyTorch's inference mode nobody counts. The
    plan is shared there where both tensors are in their places, get_mla_metadata was not called
    since, and one of these holds:

    - The tensor is the very one that get_mla_metadata returned: new lengths ask for a new one.
    - The calls are inside of one CUDA graph's capture, where a buffer is filled before the replay.

    A buffer that is filled outside of a capture may stand for other lengths at any time: there
    every call plans.
    """

    def __init__(self, tensor, num_splits, shared, owner):
        self._tensor = tensor
        self._num_splits = num_splits
        self._shared = shared
        self._owner = owner
        self._held = shared.held
        self.max_workers = shared.max_workers
        self.batch_invariant = shared.batch_invariant
        if owner is not None:
            self.max_workers = owner.max_workers or self.max_workers
            self.batch_invariant = owner.batch_invariant or self.batch_invariant

    def _has_short_way(self, held):
        return False  # the tensor has to be looked at

    def _is_current(self, held, call):
        seen = held.seen
        try:
            if seen.signature != _signature_of(call):
                return False
        except (AttributeError, TypeError):
            return False  # no tensors: the error comes from planning for them
        if not self._splits_fit(held.config):
            return False
        shared = True
        if held.on_gpu and held.dense:
            shared = seen.step == _step and (self._shared.made_here or seen.in_graph)
            version = _version_of(self._tensor)
            if version != seen.version or (version is None and not shared):
                return False
            if seen.address != _address_of(self._tensor):
                return False
        return held.is_of(call.lengths, not shared)

    def _splits_fit(self, config):
        return self._num_splits is None or tuple(self._num_splits.shape) == (config.b + 1,)

    def _agree(self, config):
        if not self._splits_fit(config):
            given = f"one of shape {list(self._num_splits.shape)}"
            raise error(ValueError, "num_splits", given, f"int32 [b + 1 = {config.b + 1}]")
        if self._owner is not None:
            self._owner._agree(config)

    def _look(self, call, plan):
        return Seen(
            signature=_signature_of(call),
            version=_version_of(self._tensor),
            address=_address_of(self._tensor),
            step=_step,
            in_graph=plan.on_gpu and _core.capture_id(plan.stream()) != 0,
        )

    def _commit(self, held):
        self._shared.held = held
        if self._owner is not None:
            self._owner.have_initialized = True
            self._owner.config = held.config
