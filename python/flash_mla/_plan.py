"""describe → plan → schedule → run."""

from __future__ import annotations

import itertools
import threading
import weakref

from . import _arguments, _core
from ._arguments import scale_arguments
from ._frameworks import (
    Results,
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


# Names of the C++ library's arguments in plan(). What no backend serves is a matter of the device.
_PLAN_NAMES = {"query_type": "dtype", "problem": "device"}


_DEVICES = '"cpu", "cuda" or "cuda:INDEX", a torch.device or a pair of a name and an index'


def device_of(device):
    """("cpu" or "cuda", index) of "cpu", "cuda", "cuda:1", a torch.device or such a pair."""
    if isinstance(device, tuple) and len(device) == 2:
        name, index = device
        given = ", ".join(map(_arguments.shown, device))
    elif isinstance(device, str) or (torch is not None and isinstance(device, torch.device)):
        given = _arguments.shown(str(device))
        name, colon, index = str(device).partition(":")
        if not colon:
            on_cuda = torch is not None and torch.cuda.is_available() and name == "cuda"
            index = torch.cuda.current_device() if on_cuda else 0
        elif index.isdigit() and len(index) < 10:
            index = int(index)
    else:
        raise error(ValueError, "device", _arguments.shown(device), _DEVICES)
    sound = isinstance(name, str) and isinstance(index, int) and not isinstance(index, bool)
    most = {"cpu": 0, "cuda": 1023}.get(name, -1) if sound else -1
    if not sound or not 0 <= index <= most:
        raise error(ValueError, "device", given, _DEVICES)
    return name, index


class Plan:
    """How one attention call is divided among workers; made by :func:`flash_mla.plan`.

    A plan owns its schedule's memory from the first :meth:`schedule` on and keeps its address, so
    that a CUDA graph which recorded ``schedule`` and ``run`` can be replayed when the lengths have
    changed on the device.
    """

    def __init__(self, fields, device, words=False):
        self.fields = dict(fields)
        self.device = device
        self.number = next(_numbers)  # by which an operator finds it
        _plans[self.number] = self
        self.core = _core.make_plan(self.fields, *device, words)
        self.memory = None  # the plan workspace
        self.framework = None
        self._stream = 0  # where the workspace was allocated
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
        """Bytes of partial results, one such memory for each stream that runs the plan."""
        return self.core.run_workspace_bytes

    @property
    def scheduled(self):
        """Whether :meth:`schedule` has been called."""
        return self.core.scheduled

    def __str__(self):
        return self.core.describe()

    def schedule(self, lengths=None):
        """Divides the work. Once a decoding step; on a CUDA device a kernel on the current stream.

        lengths: int32 [b], tokens in each request's cache, the query's own included; in dense
            decoding. Sparse plans take none. On the device of the plan, or on the CPU.
        Returns the plan. Raises ValueError naming ``lengths``.
        """
        framework = self.framework
        if framework is None and lengths is not None:
            framework = framework_of(lengths, "lengths")
        if framework is None or (self.device[0] == "cuda" and framework.name == "numpy"):
            framework = default_framework(self.device)
        stream = framework.stream(self.device[1]) if self.device[0] == "cuda" else 0
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
    ):
        """Computes softmax(softmax_scale · q kᵀ) v by the schedule. Once a layer.

        q: [b, s_q, h_q, d_qk]; prefill: [s_q, h_q, d_qk]
        kv_cache: [num_pages, page_size, h_kv, d_qk, or bytes of a token]; prefill: [s_kv, 1, d_qk]
        block_table: int32 [b, width], page numbers; dense decoding
        attn_sink: float32 [h_q], natural-log domain
        softmax_scale: d_qk ** -0.5 where None
        indices: int32 [b, s_q, topk] cache slots; prefill: [s_q, 1, topk] rows
        topk_length: int32 [b] (prefill: [s_q]), entries that count
        extra_kv_cache, extra_indices, extra_topk_length: a second cache with its lists
        out: like q with d_v = 512 numbers a row; lse: float32 [b, h_q, s_q] (prefill: [s_q, h_q]);
            max_logits: float32 [s_q, h_q], prefill; allocated where None
        empty_lse: "+inf" or "-inf", lse of a query that sees no token
        lse_base: base of lse and max_logits: 2; natural where None or math.e

        Returns (out, lse), in prefill (out, max_logits, lse). A query that sees no token gets out 0
        and lse empty_lse. Raises ValueError or TypeError naming the argument, what was given and
        what is wanted; nothing has been written then.
        """
        prefill = self.fields["kind"] == "sparse_prefill"
        if is_compiling():
            return self._run_traced(
                q, kv_cache, block_table, attn_sink, softmax_scale, indices, topk_length,
                extra_kv_cache, extra_indices, extra_topk_length, out, lse, max_logits, empty_lse,
                lse_base,
            )  # fmt: skip
        if softmax_scale is not None:
            softmax_scale = _arguments.number("softmax_scale", softmax_scale)
        form = _arguments.lse_form(empty_lse, lse_base)
        if out is None or lse is None or (prefill and max_logits is None):
            framework = framework_of(q, "q")
            rows, statistics = self._output_shapes()
            if out is None:
                out = framework.empty(q, rows)
            if lse is None:
                lse = framework.named(q, statistics, "float32")
            if prefill and max_logits is None:
                max_logits = framework.named(q, statistics, "float32")
        stream = self.framework.stream(self.device[1]) if self._on_gpu() else 0
        memory = self.run_memory(stream)
        with Results() as results:
            self.core.run(
                q, kv_cache, block_table, out, results.place(lse), results.place(max_logits),
                attn_sink, indices, topk_length, extra_kv_cache, extra_indices, extra_topk_length,
                softmax_scale, memory.address, memory.bytes, stream, *form,
            )  # fmt: skip
        return (out, max_logits, lse) if prefill else (out, lse)

    def _output_shapes(self):
        """(shape of out, shape of lse and max_logits)."""
        s_q, h_q, d_v = self.fields["query_tokens"], self.fields["query_heads"], 512
        if self.fields["kind"] == "sparse_prefill":
            return (s_q, h_q, d_v), (s_q, h_q)
        b = self.fields["batch"]
        return (b, s_q, h_q, d_v), (b, h_q, s_q)

    def _run_traced(
        self, q, kv_cache, block_table, attn_sink, softmax_scale, indices, topk_length,
        extra_kv_cache, extra_indices, extra_topk_length, out, lse, max_logits, empty_lse, lse_base,
    ):  # fmt: skip
        """run() inside of torch.compile, of a plan that was made and is scheduled outside."""
        prefill = self.fields["kind"] == "sparse_prefill"
        rows, statistics = self._output_shapes()
        out = q.new_empty(rows) if out is None else out
        lse = q.new_empty(statistics, dtype=torch.float32) if lse is None else lse
        if prefill and max_logits is None:
            max_logits = q.new_empty(statistics, dtype=torch.float32)
        torch.ops.flashmla.run(
            self.number, q, kv_cache, block_table, out, lse, max_logits, attn_sink, indices,
            topk_length, extra_kv_cache, extra_indices, extra_topk_length, empty_lse=empty_lse,
            lse_base=lse_base, **scale_arguments("softmax_scale", softmax_scale),
        )  # fmt: skip
        return (out, max_logits, lse) if prefill else (out, lse)

    def status(self):
        """0, or 1 + the first request with a bad page number or length in the last run.

        Waits for the stream: for debugging.
        """
        return self.core.status(self.framework.stream(self.device[1]) if self._on_gpu() else 0)

    def array(self, name):
        """The schedule's int32 array "work" [workers, 8] or "split_offset" [requests + 1]."""
        _arguments.one_of("name", name, ("work", "split_offset"))
        offset, shape = self.core.arrays()[name]
        return self.framework.int32(self.memory, offset, shape)

    def _on_gpu(self):
        return self.device[0] == "cuda" and self.framework is not None

    def run_memory(self, stream):
        """The run workspace for this stream, or for this thread on the CPU."""
        size = self.core.run_workspace_bytes
        if self.device[0] == "cpu":
            memory = getattr(_scratch, "memory", None)
            if memory is None or memory.bytes < size:
                memory = _scratch.memory = host_memory(size)
            return memory
        if self.framework is None:
            raise error(ValueError, "plan", "one without a schedule", "a call of schedule() first")
        if _core.capture_id(stream):
            # It belongs to the graph that is being recorded, not to the plan.
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
    """The plan of this number, where there still is one."""
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
):
    """Plans one attention call; host only, no GPU memory is touched.

    plan = flash_mla.plan(device="cuda", batch=32, query_heads=128, max_pages=64)
    plan.schedule(cache_seqlens)                      # once a decoding step
    out, lse = plan.run(q, k_cache, block_table)      # once a layer

    kind: "dense_decode", "sparse_decode" or "sparse_prefill"
    device: "cpu", "cuda", "cuda:1", torch.device: where every tensor of the call lives
    batch, query_tokens, query_heads, kv_heads: b, s_q, h_q, h_kv
    dtype: "bf16" or "fp16", the type of q and out, in the short or the long spelling or as a dtype
        of PyTorch or NumPy; uint16 arrays are taken as it
    kv_format: "bf16", "fp16", "v32", "v4"; as dtype where None
    qk_dim: 576 or 512; 576 where None, 512 with v4
    page_size: tokens in a page of the cache; 64 where None
    max_pages: pages that a request may have (dense decoding); max_blocks is its earlier name
    topk, extra_topk, extra_page_size: sparse attention
    causal: query token t sees cache tokens j ≤ s_k − s_q + t
    batch_invariant: a request's output bits do not depend on the other requests
    max_workers: workers (on a GPU: SMs) that the call may use, the others are left to whatever runs
        beside it; 0 is all

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
        return Plan(fields, device_of(device), words=True)
    except (ValueError, NotImplementedError) as failure:
        raise _arguments.renamed(failure, names) from None
