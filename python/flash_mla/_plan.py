"""describe → plan → schedule → run."""

from __future__ import annotations

import itertools
import threading
import weakref

from . import _arguments, _core
from ._arguments import scale_arguments
from ._call import Call
from ._checks import HEAD_DIM_V
from ._frameworks import (
    contiguous,
    default_framework,
    error,
    framework_of,
    host_memory,
    is_compiling,
    torch,
)

_scratch = threading.local()
_numbers = itertools.count(1)
_plans = weakref.WeakValueDictionary()
_RUN_NAMES: dict = {}  # the arguments of Plan.run are named as in the C++ library
# Arguments of plan() by their names in the C++ library. Where no backend serves the problem, the
# device is wrong.
_PLAN_NAMES = {"query_type": "dtype", "problem": "device"}


def _output_shapes(fields):
    """(shape of out, shape of lse and max_logits)."""
    b, s_q, h_q = fields["batch"], fields.get("query_tokens", 1), fields["query_heads"]
    if fields["kind"] == "sparse_prefill":
        return (s_q, h_q, HEAD_DIM_V), (s_q, h_q)
    return (b, s_q, h_q, HEAD_DIM_V), (b, h_q, s_q)


class Plan:
    """How one attention call is divided among workers; made by :func:`flash_mla.plan`.

    A plan owns its schedule's memory from the first :meth:`schedule` on and keeps its address, so
    that a CUDA graph which recorded ``schedule`` and ``run`` can be replayed when the lengths have
    changed on the device.
    """

    def __init__(self, fields, device, words=False):
        self.fields = dict(fields)
        self.device = device
        self.on_gpu = device[0] == "cuda"
        self.prefill = self.fields["kind"] == "sparse_prefill"
        self.out_shape, self.lse_shape = _output_shapes(self.fields)
        self.number = next(_numbers)  # an operator finds the plan by it
        _plans[self.number] = self
        self.core = _core.make_plan(self.fields, *device, words)
        self.memory = None  # the plan workspace
        self.framework = None
        self._stream = 0  # where the plan workspace was allocated
        self._runs = {}  # stream: run workspace

    @property
    def backend(self):
        """Name of the backend that serves the plan: "cpu" or "cuda"."""
        return self.core.backend

    @property
    def plan_workspace_bytes(self):
        """Bytes of the schedule with the plan's copy of the lengths."""
        return self.core.plan_workspace_bytes

    @property
    def run_workspace_bytes(self):
        """Bytes of the memory for partial results. Each stream that runs the plan has its own."""
        return self.core.run_workspace_bytes

    @property
    def scheduled(self):
        """Whether :meth:`schedule` has been called."""
        return self.core.scheduled

    def __str__(self):
        return self.core.describe()

    def schedule(self, lengths=None):
        """Divides the work, once a decoding step. On a GPU it is a kernel on the current stream.

        lengths: int32 [b], tokens in each request's cache, the query's own included. They are on
            the device of the plan or on the CPU. Sparse plans take none.
        Returns the plan. Raises ValueError naming ``lengths``.
        """
        framework = self.framework
        if framework is None and lengths is not None:
            framework = framework_of(lengths, "lengths")
        if framework is None or (self.on_gpu and framework.name == "numpy"):
            framework = default_framework(self.device)
        stream = framework.stream(self.device[1]) if self.on_gpu else 0
        memory = self.memory or framework.memory(self.device, self.core.plan_workspace_bytes)
        self.core.schedule(lengths, memory.address, self.core.plan_workspace_bytes, stream)
        if self.memory is None:
            self.memory, self.framework, self._stream = memory, framework, stream
        return self

    def run(
        self,
        q,
        kv_cache,
        block_table=None,
        *,
        attn_sink=None,
        softmax_scale=None,
        indices=None,
        topk_length=None,
        extra_kv_cache=None,
        extra_indices=None,
        extra_topk_length=None,
        out=None,
        lse=None,
        max_logits=None,
        empty_lse="+inf",
        lse_base=None,
        q_rotary=None,
    ):
        """Computes softmax(softmax_scale · q kᵀ) v by the schedule, once a layer.

        out, lse = plan.run(q, k_cache, block_table)

        q: [b, s_q, h_q, d_qk]; prefill: [s_q, h_q, d_qk]
        kv_cache: [num_pages, page_size, h_kv, d_qk, or bytes of a token]; prefill: [s_kv, 1, d_qk]
        block_table: int32 [b, max_pages], page numbers; dense decoding
        attn_sink: float32 [h_q], natural-log domain
        softmax_scale: d_qk ** -0.5 where None
        indices: int32 [b, s_q, topk] cache slots; prefill: [s_q, 1, topk] rows
        topk_length: int32 [b] (prefill: [s_q]), entries that count
        extra_kv_cache, extra_indices, extra_topk_length: a second cache with its lists
        out: like q with d_v = 512 numbers a row; lse: float32 [b, h_q, s_q] (prefill: [s_q, h_q]);
            max_logits: float32 [s_q, h_q], prefill; allocated where None
        empty_lse: "+inf" or "-inf", lse of a query that sees no token
        lse_base: base of lse and max_logits: 2; natural where None or math.e
        q_rotary: [b, s_q, h_q, 64], the last columns of the query, with split_query alone; q has
            the first d_qk - 64 columns then

        Returns (out, lse), in prefill (out, max_logits, lse). A query that sees no token gets out 0
        and lse empty_lse. Raises ValueError or TypeError naming the argument, what was given and
        what is wanted; nothing has been written then.
        """
        call = Call(_RUN_NAMES, q, kv_cache)
        call.q_rotary = q_rotary
        call.block_table, call.attn_sink, call.softmax_scale = block_table, attn_sink, softmax_scale
        call.indices, call.topk_length = indices, topk_length
        call.extra_kv_cache, call.extra_indices = extra_kv_cache, extra_indices
        call.extra_topk_length = extra_topk_length
        call.out, call.lse, call.max_logits = out, lse, max_logits
        if is_compiling():
            self._run_traced(call, empty_lse, lse_base)
        else:
            if softmax_scale is not None:
                call.softmax_scale = _arguments.number("softmax_scale", softmax_scale)
            call.set_lse_form(empty_lse, lse_base)
            self.execute(call)
        return (call.out, call.max_logits, call.lse) if self.prefill else (call.out, call.lse)

    def execute(self, call):
        """Runs a Call, which a function of the package has filled in; allocates missing outputs."""
        if call.out is None or call.lse is None or (self.prefill and call.max_logits is None):
            self._allocate(call)
        stream = self.stream()
        memory = self.run_memory(stream)
        lse, max_logits = call.lse, call.max_logits
        call.lse = contiguous(lse)
        if max_logits is not None:
            call.max_logits = contiguous(max_logits)
        self.core.run(call, memory.address, memory.bytes, stream)
        if call.lse is not lse:
            framework_of(lse).copy(lse, call.lse)
            call.lse = lse
        if call.max_logits is not max_logits:
            framework_of(max_logits).copy(max_logits, call.max_logits)
            call.max_logits = max_logits

    def _allocate(self, call):
        """Allocates the outputs that a Call lacks."""
        framework = framework_of(call.q, "q")
        if call.out is None:
            call.out = framework.empty(call.q, self.out_shape)
        if call.lse is None:
            call.lse = framework.named(call.q, self.lse_shape, "float32")
        if self.prefill and call.max_logits is None:
            call.max_logits = framework.named(call.q, self.lse_shape, "float32")

    def _run_traced(self, call, empty_lse, lse_base):
        """run() inside of torch.compile, of a plan that was made and is scheduled outside."""
        q = call.q
        if call.out is None:
            call.out = q.new_empty(self.out_shape)
        if call.lse is None:
            call.lse = q.new_empty(self.lse_shape, dtype=torch.float32)
        if self.prefill and call.max_logits is None:
            call.max_logits = q.new_empty(self.lse_shape, dtype=torch.float32)
        torch.ops.flashmla.run(
            self.number, q, call.kv_cache, call.block_table, call.out, call.lse, call.max_logits,
            call.attn_sink, call.indices, call.topk_length, call.extra_kv_cache,
            call.extra_indices, call.extra_topk_length, empty_lse=empty_lse, lse_base=lse_base,
            q_rotary=call.q_rotary,
            **scale_arguments("softmax_scale", call.softmax_scale),
        )  # fmt: skip

    def stream(self):
        """The current stream of the plan's device; 0 on the CPU."""
        if not self.on_gpu or self.framework is None:
            return 0
        return self.framework.stream(self.device[1])

    def status(self):
        """0, or 1 + the first request with a bad page number or length in the last run.

        Waits for the stream: for debugging.
        """
        return self.core.status(self.stream())

    def array(self, name):
        """The schedule's int32 array "work" [workers, 8] or "split_offset" [requests + 1]."""
        _arguments.one_of("name", name, ("work", "split_offset"))
        offset, shape = self.core.arrays()[name]
        return self.framework.int32(self.memory, offset, shape)

    def run_memory(self, stream):
        """The run workspace for this stream, or for this thread on the CPU."""
        size = self.core.run_workspace_bytes
        if not self.on_gpu:
            memory = getattr(_scratch, "memory", None)
            if memory is None or memory.bytes < size:
                memory = _scratch.memory = host_memory(size)
            return memory
        if self.framework is None:
            raise error(
                ValueError, "plan", "a plan without a schedule", "a call of schedule() first"
            )
        if _core.capture_id(stream):
            # The memory belongs to the graph that is being recorded, not to the plan.
            return self.framework.memory(self.device, size)
        memory = self._runs.get(stream)
        if memory is None:
            memory = self._runs[stream] = self.framework.memory(self.device, size)
            kind, current = self.framework.tensor_type, self.framework.stream
            self.core.lend(stream, memory.address, memory.bytes, kind, current)
            if stream != self._stream and self.memory is not None:
                self.framework.used_on(self.memory, stream)
        return memory


def plan_numbered(number):
    """The plan of this number, as long as somebody keeps it."""
    found = _plans.get(int(number))
    if found is None:
        raise error(ValueError, "plan", number, "the number of a plan that somebody still has")
    return found


def plan(
    kind="dense_decode",
    *,
    device,
    batch=1,
    query_heads,
    query_tokens=1,
    kv_heads=1,
    dtype="bf16",
    kv_format=None,
    qk_dim=None,
    v_dim=512,
    page_size=None,
    max_pages=0,
    topk=0,
    extra_topk=0,
    extra_page_size=0,
    causal=False,
    batch_invariant=False,
    max_workers=0,
    max_blocks=None,
    split_query=False,
):
    """Plans one attention call. It runs on the host alone and touches no GPU memory.

    plan = flash_mla.plan(device="cuda", batch=32, query_heads=128, max_pages=64)
    plan.schedule(cache_seqlens)                      # once a decoding step
    out, lse = plan.run(q, k_cache, block_table)      # once a layer

    kind: "dense_decode", "sparse_decode" or "sparse_prefill"
    device: "cpu", "cuda", "cuda:1", torch.device: where every tensor of the call lives
    batch, query_tokens, query_heads, kv_heads: b, s_q, h_q, h_kv
    dtype: "bf16" or "fp16", the type of q and out, in the short or the long spelling or as a dtype
        of PyTorch or NumPy; uint16 arrays are taken as this type
    kv_format: "bf16", "fp16", "v32", "v4"; as dtype where None
    qk_dim: 576 or 512; 576 where None, 512 with v4
    page_size: tokens in a page of the cache; 64 where None
    max_pages: pages that a request may have (dense decoding); max_blocks is its earlier name
    topk, extra_topk, extra_page_size: sparse attention
    causal: query token t sees cache tokens j ≤ s_k − s_q + t
    batch_invariant: a request's output bits do not depend on the other requests
    max_workers: workers (on a GPU: SMs) that the call may use; 0 is all. The other ones are left to
        whatever runs beside the call
    split_query: run takes the query in two tensors, q and q_rotary; dense decoding

    Returns a :class:`Plan`. Raises ValueError naming the argument, NotImplementedError with the
    reason of every backend where none serves it.
    """
    dtype = _arguments.dtype("dtype", dtype)
    kv_format = dtype if kv_format is None else _arguments.kv_format("kv_format", kv_format)
    if qk_dim is None:
        qk_dim = _core.format_qk_dim(kv_format) or 576
    names = _PLAN_NAMES
    if max_blocks is not None:
        if max_pages != 0:
            raise _arguments.error(
                ValueError, "max_blocks", max_blocks, "max_pages alone, which is its name now"
            )
        max_pages = _arguments.integer("max_blocks", max_blocks)
        names = {**names, "max_pages": "max_blocks"}
    fields = {
        "kind": _arguments.one_of("kind", kind, _arguments.KINDS),
        "dtype": dtype,
        "kv_format": kv_format,
        "causal": _arguments.flag("causal", causal),
        "batch_invariant": _arguments.flag("batch_invariant", batch_invariant),
        "split_query": _arguments.flag("split_query", split_query),
    }
    for name, value in (
        ("batch", batch), ("query_tokens", query_tokens), ("query_heads", query_heads),
        ("kv_heads", kv_heads), ("qk_dim", qk_dim), ("v_dim", v_dim),
        ("page_size", 64 if page_size is None else page_size), ("max_pages", max_pages),
        ("topk", topk), ("extra_topk", extra_topk), ("extra_page_size", extra_page_size),
        ("max_workers", max_workers),
    ):  # fmt: skip
        fields[name] = _arguments.integer(name, value)
    try:
        return Plan(fields, _arguments.device("device", device), words=True)
    except (ValueError, NotImplementedError) as failure:
        raise _arguments.renamed(failure, names) from None
