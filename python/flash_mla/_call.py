"""One attention call as a value, and the problem that its tensors describe."""

from __future__ import annotations

from typing import NamedTuple, Optional

from ._arguments import flag, lse_form, shown
from ._checks import inspect
from ._frameworks import error

NO_DENSE_FP8 = "bf16 or fp16 without indices: dense attention over an FP8 cache has no kernel yet"
_QUERIES = "[b, s_q, h_q, d_qk]"
_ROTARY = "[b, s_q, h_q, 64] for the rotary part"
_PAGES = "[num_pages, page_block_size, h_kv, token]"
_BYTES = ("u8", "i8", "e4m3")
KNOWN_FORMATS = {"bf16": "bf16", "fp16": "fp16", "v32": "v32", "v4": "v4", "model1": "v4"}
_COMING_FORMATS = {"v32_no_rope": 528, "v32_nope": 528, "v41": 528, "v41_fp4": 288}
_PLUS = "+inf"
# Arguments of flash_mla_with_kvcache by their names in the C++ library. What the library knows as a
# number of the problem is a pair: the argument that has the number, and the number's name there.
DECODE_NAMES = {
    "q_rotary": "q",
    "kv_cache": "k_cache",
    "lengths": "cache_seqlens",
    "extra_kv_cache": "extra_k_cache",
    "extra_indices": "extra_indices_in_kvcache",
    "problem": "q",
    "batch": ("q", "b"),
    "query_tokens": ("q", "s_q"),
    "query_heads": ("q", "h_q"),
    "qk_dim": ("q", "d_qk"),
    "dtype": ("q", "dtype"),
    "kv_heads": ("k_cache", "h_kv"),
    "kv_format": ("k_cache", "format"),
    "page_size": ("k_cache", "page_block_size"),
    "max_pages": ("block_table", "max_pages"),
    "topk": ("indices", "topk"),
    "extra_topk": ("extra_indices_in_kvcache", "extra_topk"),
    "extra_page_size": ("extra_k_cache", "page_block_size"),
    "max_workers": ("tile_scheduler_metadata", "max_workers"),
    "batch_invariant": ("tile_scheduler_metadata", "batch_invariant"),
}


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


class Call:
    """One attention call: its tensors, its options, and their names in the called function.

    The function that the user called fills in the fields and passes the Call on whole. The fields
    are named as in the C++ library, which reads them (python/src/read_call.cpp).

    names: {name in the library: argument of the called function, or a pair of the argument and the
        part that is meant}
    q_rotary: the last 64 columns of the query where q holds only the other columns, else None
    lengths: the tokens in each request's cache; None in sparse attention
    softmax_scale: a float, or None for the default
    base_two: whether lse and max_logits are to base 2 instead of natural
    empty_minus: whether lse is −inf instead of +inf where a query sees no token
    max_workers, batch_invariant: options of the plan that the call asks for
    """

    __slots__ = (
        "attn_sink", "base_two", "batch_invariant", "block_table", "causal", "empty_minus",
        "extra_indices", "extra_kv_cache", "extra_topk_length", "indices", "is_fp8_kvcache",
        "kv_cache", "lengths", "lse", "max_logits", "max_workers", "names", "out", "q",
        "q_rotary", "softmax_scale", "topk_length",
    )  # fmt: skip

    def __init__(self, names, q, kv_cache):
        self.names = names
        self.q = q
        self.q_rotary = None
        self.kv_cache = kv_cache
        self.block_table = self.lengths = self.indices = self.topk_length = None
        self.extra_kv_cache = self.extra_indices = self.extra_topk_length = None
        self.attn_sink = self.softmax_scale = None
        self.out = self.lse = self.max_logits = None
        self.causal = self.is_fp8_kvcache = self.base_two = self.empty_minus = False
        self.max_workers = 0
        self.batch_invariant = False

    def set_lse_form(self, empty_lse, lse_base):
        """Sets base_two and empty_minus by the arguments empty_lse and lse_base."""
        # NOTE: runs once a layer, so that the defaults are not checked further.
        if lse_base is not None or empty_lse is not _PLUS:
            self.base_two, self.empty_minus = lse_form(empty_lse, lse_base)

    def name(self, field):
        """The called function's name of a tensor."""
        return self.names.get(field, field)

    def error(self, kind, field, given, wanted):
        """An exception that names a tensor as the called function does."""
        return error(kind, self.name(field), given, wanted)

    def inspect(self, field, rank, dimensions):
        """(device, dtype, shape) of a tensor, which must have this number of dimensions."""
        return inspect(getattr(self, field), self.names.get(field, field), rank, dimensions)

    def refuse(self, fields, where):
        """Raises the error of the first of these tensors that is given."""
        for field in fields:
            tensor = getattr(self, field)
            if tensor is not None:
                raise self.error(ValueError, field, shown(tensor), f"None {where}")


def check_format(call, kv_format):
    """Raises an error unless kv_format repeats what the tensors say.

    Every format of today follows from the tensors.
    """
    name = "kv_format"
    if not isinstance(kv_format, str):
        raise error(TypeError, name, shown(kv_format), "the name of a cache's format, or None")
    text = kv_format.lower()
    if text in _COMING_FORMATS:
        wanted = f"{', '.join(KNOWN_FORMATS)}: this format has no kernel yet"
        raise error(NotImplementedError, name, shown(kv_format), wanted)
    _, dtype, shape = call.inspect("kv_cache", 4, _PAGES)
    found = dtype
    if dtype in _BYTES and call.indices is not None:
        found = _packed_format(call, _query(call)[2][3], shape)
    if KNOWN_FORMATS.get(text) != found:
        raise error(ValueError, name, shown(kv_format), f"{found}, as k_cache and q say, or None")


def _packed_format(call, d_qk, shape):
    if d_qk == 512 and shape[3] == 528:
        wanted = "584 (V4), or kv_format= to say which of the formats of 528 bytes it is"
        raise call.error(ValueError, "kv_cache", "528 bytes a token", wanted)
    return "v32" if d_qk == 576 else "v4"


def is_packed(call):
    """Whether the cache is FP8: the meaning of is_fp8_kvcache=None."""
    return call.inspect("kv_cache", 4, _PAGES)[1] in _BYTES


def query_parts(q):
    """(latent part, rotary part) of a query that is a tuple of two tensors."""
    if len(q) != 2 or q[1] is None:
        given = f"a tuple of {len(q)}" if len(q) != 2 else "None as the rotary part"
        wanted = "a tensor, or a pair of its first d_qk - 64 columns and its last 64"
        raise error(ValueError, "q", given, wanted)
    return q


def _query(call):
    """(device, dtype, (b, s_q, h_q, d_qk)) of the query, in one tensor or in two."""
    device, dtype, shape = call.inspect("q", 4, _QUERIES)
    if call.q_rotary is None:
        return device, dtype, shape
    _, _, rotary = call.inspect("q_rotary", 4, _ROTARY)
    return device, dtype, (*shape[:3], shape[3] + rotary[3])


def _dense_fields(call):
    """(device, fields of the problem) that the tensors of a dense call describe."""
    device, dtype, (b, s_q, h_q, d_qk) = _query(call)
    _, cache_dtype, cache_shape = call.inspect("kv_cache", 4, _PAGES)
    for field in ("block_table", "lengths"):
        if getattr(call, field) is None:
            wanted = "a tensor, as indices is None: dense decoding"
            raise call.error(TypeError, field, "None", wanted)
    if cache_dtype in _BYTES:
        raise call.error(NotImplementedError, "kv_cache", f"dtype {cache_dtype}", NO_DENSE_FP8)
    _, _, table = call.inspect("block_table", 2, "[b, max_pages]")
    where = call.inspect("lengths", 1, "[b]")[0]
    if where != device:
        given = f"a tensor on {where[0]}:{where[1]}"
        raise call.error(ValueError, "lengths", given, f"one on {device[0]}:{device[1]}, as q")
    if dtype not in ("bf16", "fp16"):
        raise call.error(ValueError, "q", f"dtype {dtype}", "dtype bf16 or fp16")
    return device, {
        "kind": "dense_decode",
        "batch": b,
        "query_tokens": s_q,
        "query_heads": h_q,
        "kv_heads": cache_shape[2],
        "dtype": dtype,
        "kv_format": dtype,
        "qk_dim": d_qk,
        "page_size": cache_shape[1],
        "max_pages": table[1],
    }


def _sparse_fields(call):
    """(device, fields of the problem) that the tensors of a sparse call describe."""
    device, dtype, (b, s_q, h_q, d_qk) = _query(call)
    _, cache_dtype, cache_shape = call.inspect("kv_cache", 4, _PAGES)
    _, _, lists = call.inspect("indices", 3, "[b, s_q, topk]")
    if dtype != "bf16":
        raise call.error(ValueError, "q", f"dtype {dtype}", "dtype bf16 in sparse attention")
    packed = cache_dtype in _BYTES
    if packed != call.is_fp8_kvcache:
        wanted = f"{packed}, as k_cache is of dtype {cache_dtype}"
        raise error(ValueError, "is_fp8_kvcache", call.is_fp8_kvcache, wanted)
    if packed and d_qk not in (576, 512):
        raise call.error(ValueError, "q", f"d_qk = {d_qk}", "576 (V3.2 cache) or 512 (V4 cache)")
    fields = {
        "kind": "sparse_decode",
        "batch": b,
        "query_tokens": s_q,
        "query_heads": h_q,
        "kv_heads": cache_shape[2],
        "dtype": dtype,
        "kv_format": _packed_format(call, d_qk, cache_shape) if packed else "bf16",
        "qk_dim": d_qk,
        "page_size": cache_shape[1],
        "topk": lists[2],
    }
    if (call.extra_kv_cache is None) != (call.extra_indices is None):
        missing = "extra_kv_cache" if call.extra_kv_cache is None else "extra_indices"
        raise call.error(ValueError, missing, "None", "a tensor: the two come together")
    if call.extra_kv_cache is not None:
        _, _, extra_shape = call.inspect("extra_kv_cache", 4, _PAGES)
        _, _, extra_lists = call.inspect("extra_indices", 3, "[b, s_q, extra_topk]")
        fields["extra_page_size"] = extra_shape[1]
        fields["extra_topk"] = extra_lists[2]
    return device, fields


def describe(call):
    """(device, fields of the problem, Config) of a decoding call."""
    flag("causal", call.causal)
    flag("is_fp8_kvcache", call.is_fp8_kvcache)
    if call.indices is None:
        absent = "extra_kv_cache", "extra_indices", "topk_length", "extra_topk_length"
        call.refuse(absent, "without indices: dense decoding")
        device, fields = _dense_fields(call)
    else:
        if call.extra_kv_cache is None:
            call.refuse(("extra_topk_length",), "without extra_k_cache")
        if call.causal:
            raise error(ValueError, "causal", True, "False with indices, which say what is seen")
        device, fields = _sparse_fields(call)
    fields["split_query"] = call.q_rotary is not None
    fields["causal"] = call.causal
    fields["max_workers"] = call.max_workers
    fields["batch_invariant"] = call.batch_invariant
    config = Config(
        fields["batch"], fields["query_tokens"], fields["query_heads"], fields["page_size"],
        fields["kv_heads"], call.causal, call.is_fp8_kvcache, fields.get("topk"),
        fields.get("extra_page_size"), fields.get("extra_topk"),
    )  # fmt: skip
    return device, fields, config
