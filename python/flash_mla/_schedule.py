"""A schedule that calls share: which plan serves a call, and when a new one has to be made."""

from __future__ import annotations

from typing import Optional

from ._arguments import renamed
from ._call import describe
from ._checks import FAILURES
from ._frameworks import error, framework_of
from ._plan import Plan


class Held:
    """A plan with its schedule, and what tells whether it still fits a call.

    work, num_splits: the schedule's arrays as tensors
    on_gpu: whether the lengths are on a GPU, where the host cannot compare them
    lengths: kept, so that no other tensor takes their address while that stands for them
    seen: what was known of the schedule's tensor before the plan was made; None where the schedule
        is an object
    """

    __slots__ = (
        "batch_invariant", "causal", "config", "core", "dense", "is_fp8_kvcache", "lengths",
        "max_workers", "num_splits", "on_gpu", "plan", "seen", "split_query", "work",
    )  # fmt: skip

    def __init__(self, plan, config, call, seen):
        self.plan = plan
        self.core = plan.core
        self.on_gpu = plan.on_gpu
        self.config = config
        self.work = plan.array("work")
        self.num_splits = plan.array("split_offset")
        self.dense = call.indices is None
        self.split_query = call.q_rotary is not None
        self.causal = call.causal
        self.is_fp8_kvcache = call.is_fp8_kvcache
        self.max_workers = call.max_workers
        self.batch_invariant = call.batch_invariant
        self.lengths = call.lengths
        self.seen = seen

    def is_of(self, lengths, counted):
        """Whether the schedule was made from these lengths, as far as the host can tell.

        counted: lengths whose changes nobody counts never pass
        """
        stream = self.plan.stream() if self.on_gpu else 0
        return self.core.current(lengths, stream, counted)

    def has_options_of(self, call):
        """Whether the plan was made for a call of this kind with these options."""
        return (
            self.causal is call.causal
            and self.is_fp8_kvcache is call.is_fp8_kvcache
            and self.dense is (call.indices is None)
            and self.split_query is (call.q_rotary is not None)
            and (call.lengths is not None or not self.dense)
            and self.batch_invariant is call.batch_invariant
            and self.max_workers == call.max_workers
        )


class Schedule:
    """What stands for a schedule in a call: today's object, or the tensors of the older form.

    max_workers, batch_invariant: options of the plan
    _held: the plan that an earlier call left
    _owner: the FlashMLASchedMeta whose field the schedule's tensor is
    """

    max_workers: int
    batch_invariant: bool
    _held: Optional[Held] = None
    _owner: Optional[Schedule] = None

    def _has_short_way(self, held):
        """Whether held is known to be the plan of this schedule without a look at any tensor."""
        raise NotImplementedError

    def _is_current(self, held, call):
        """Whether held is the plan of this call, as far as the host can tell."""
        raise NotImplementedError

    def _agree(self, config):
        """Raises an error that names what differs from the earlier calls with this schedule."""
        raise NotImplementedError

    def _look(self, call, plan):
        """What is known of the schedule's tensor before the plan is made."""

    def _commit(self, held):
        """Keeps the plan for later calls, once it has served one."""
        raise NotImplementedError


def run_scheduled(schedule, call):
    """Runs a call by the plan that an earlier call left, or by a new one."""
    held, made = schedule._held, False
    call.max_workers = schedule.max_workers
    call.batch_invariant = schedule.batch_invariant or call.batch_invariant
    try:
        alike = held is not None and held.has_options_of(call)
        if (
            alike
            and call.out is not None
            and call.lse is not None
            and schedule._has_short_way(held)
            and held.core.run_current(call.lengths, call)
        ):
            return  # on a GPU
        if not alike or not schedule._is_current(held, call):
            held, made = _make(schedule, call), True
        held.plan.execute(call)
    except FAILURES as failure:
        if held is not None and not made:
            _explain(schedule, call)
        raise renamed(failure, call.names) from None
    if made or schedule._owner is not None:
        schedule._commit(held)


def _make(schedule, call):
    """A plan with its schedule for this call; the Schedule itself stays as it is."""
    device, fields, config = describe(call)
    schedule._agree(config)
    plan = Plan(fields, device)
    plan.framework = framework_of(call.q, "q")
    seen = schedule._look(call, plan)
    try:
        plan.schedule(call.lengths)
    except ValueError as failure:
        raise _about_the_table(failure, fields) from None
    return Held(plan, config, call, seen)


def _about_the_table(failure, fields):
    """The error of lengths beyond the block table, which says that the table may be wrong."""
    if getattr(failure, "argument", None) != "lengths" or "max_pages" not in failure.wanted:
        return failure
    pages, size = fields["max_pages"], fields["page_size"]
    wanted = f"0 … {pages * size}, what a block_table of {pages} pages of {size} holds"
    return error(ValueError, "lengths", failure.given, wanted)


def _explain(schedule, call):
    """Raises a clearer error where one tensor's error hides that the call fits no earlier one."""
    try:
        schedule._agree(describe(call)[2])
    except FAILURES as clearer:
        raise renamed(clearer, call.names) from None
