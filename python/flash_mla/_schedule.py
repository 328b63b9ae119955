"""What the calls with one schedule share, and what tells whether it still fits a call."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple, Optional

from . import _core
from ._frameworks import error

ATTRIBUTE = "_flash_mla"  # on a schedule tensor of the older form: what the calls with it share


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

    plan: Any
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
    max_workers: int
    batch_invariant: bool
    # Kept, so that no other tensor takes its address while that stands for these lengths.
    lengths: Any
    # Older form, whose tensors serve calls of any problem: the shapes that it was planned for, and
    # what was known of the schedule tensor.
    signature: Any = None
    tensor_version: Optional[int] = None
    tensor_address: int = 0
    step: int = 0
    in_graph: bool = False


_numbers = itertools.count(1)
_step = 0


def begin_step():
    """Called by get_mla_metadata with lengths: what was planned before is of an earlier step.

    No number comes twice, so no plan of an earlier step is ever taken for one of this step.
    """
    global _step
    _step = next(_numbers)


def current_step():
    return _step


def version_of(tensor):
    """How often a tensor was changed; None where nobody counts that."""
    if not hasattr(tensor, "is_inference") or tensor.is_inference():
        return None
    return tensor._version


def signature_of(q, k_cache, indices, extra_k_cache, extra_indices):
    """Equal for calls that one schedule serves."""
    return tuple(
        None if tensor is None else (tuple(tensor.shape[first:]), tensor.dtype)
        for tensor, first in (
            (q, 0), (k_cache, 1), (indices, 0), (extra_k_cache, 1), (extra_indices, 0),
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


class TensorSchedule:
    """The older form in one call: a schedule tensor, perhaps in a FlashMLASchedMeta's field.

    The tensor names a schedule. The call makes its own from the lengths, and calls with the same
    tensor share it as long as neither that nor the lengths have changed. Where a framework counts
    changes (`version_of`), the counts tell. In PyTorch's inference mode nobody counts, and the plan
    is shared where both tensors are in their places and get_mla_metadata was not called since:

    - by the tensor that get_mla_metadata itself returned: lengths that change ask for a new one;
    - inside of one CUDA graph's capture, where a buffer is filled before the replay.

    A buffer that is filled outside of a capture may stand for other lengths at any time: there
    every call plans.
    """

    def __init__(self, tensor, num_splits, shared, owner):
        self.tensor = tensor
        self.num_splits = num_splits
        self.shared = shared
        self.owner = owner  # the FlashMLASchedMeta, if there is one
        self.max_workers = shared.max_workers
        self.batch_invariant = shared.batch_invariant
        if owner is not None:
            self.max_workers = owner.max_workers or self.max_workers
            self.batch_invariant = owner.batch_invariant or self.batch_invariant
        self._held = shared.held

    def _holds(self, held):
        return False  # no short way: the tensor has to be looked at

    def _is_current(self, held, lengths, stream, tensors):
        try:
            if held.signature != signature_of(*tensors):
                return False
        except (AttributeError, TypeError):
            return False  # no tensors: whoever plans for them says so
        if not self._splits_fit(held.config):
            return False
        shared = True
        if held.on_gpu and held.dense:
            shared = held.step == current_step() and (self.shared.made_here or held.in_graph)
            version = version_of(self.tensor)
            if version != held.tensor_version or (version is None and not shared):
                return False
            if held.tensor_address != address_of(self.tensor):
                return False
        return held.core.current(lengths, stream, not shared)

    def _splits_fit(self, config):
        return self.num_splits is None or tuple(self.num_splits.shape) == (config.b + 1,)

    def _agree(self, config):
        if not self._splits_fit(config):
            given = f"one of shape {list(self.num_splits.shape)}"
            raise error(ValueError, "num_splits", given, f"int32 [b + 1 = {config.b + 1}]")
        if self.owner is not None:
            self.owner._agree(config)

    def _known(self, tensors, stream, on_gpu):
        """Fields of Held: what is known of the call before it plans."""
        return {
            "signature": signature_of(*tensors),
            "tensor_version": version_of(self.tensor),
            "tensor_address": address_of(self.tensor),
            "step": current_step(),
            "in_graph": on_gpu and _core.capture_id(stream) != 0,
        }

    def _commit(self, held):
        self.shared.held = held
        if self.owner is not None:
            self.owner.have_initialized = True
            self.owner.config = held.config


def address_of(tensor):
    return _core.inspect(tensor, "tile_scheduler_metadata")[4]
